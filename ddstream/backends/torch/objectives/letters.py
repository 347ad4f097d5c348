"""Letters: a text read from an image step by step, without knowing where each letter is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import arrays, refuse_loss, tensor
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import OUTPUT, Sample
from ddstream.errors import InputError, ParameterError

LETTERS, LENGTHS = "letters", "lengths"
BLANK = 0


class Letters:
    """Connectionist temporal classification (Graves et al. 2006); id 0 is the blank."""

    def __init__(self, parameters: TorchParameters) -> None:
        refuse_loss(parameters)

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """The ids of all texts in a row, and the length of each."""
        found = arrays(samples)
        if any(each.ndim != 1 for each in found):
            raise InputError("the data have no texts: parameters.input.ctc and a list are needed")
        return {
            LETTERS: torch.from_numpy(np.concatenate(found).astype(np.int64)),
            LENGTHS: torch.tensor([len(each) for each in found]),
        }

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of a batch; a text longer than the model has steps counts for nothing."""
        outputs = tensor(model(*inputs))
        steps, texts, alphabet = outputs.shape
        if len(targets[LETTERS]) and int(targets[LETTERS].max()) >= alphabet:
            highest = int(targets[LETTERS].max())
            raise ParameterError(f"letter {highest} is not in the model's alphabet of {alphabet}")
        loss = functional.ctc_loss(
            outputs.float().log_softmax(-1),
            targets[LETTERS].to(outputs.device),
            torch.full((texts,), steps),
            targets[LENGTHS],
            blank=BLANK,
            zero_infinity=True,
        )
        return Losses(loss)

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """Logits N x T x A."""
        return {OUTPUT: tensor(model(*inputs)).transpose(0, 1)}
