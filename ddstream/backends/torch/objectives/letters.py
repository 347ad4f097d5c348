"""Letters: a text read from an image step by step, without knowing where each letter is."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import arrays, refuse_loss, tensor
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import OUTPUT, Array, Sample
from ddstream.errors import InputError, ParameterError

log = logging.getLogger(__name__)

LETTERS, LENGTHS, STEPS = "letters", "lengths", "steps"
BLANK = 0


class Letters:
    """Connectionist temporal classification (Graves et al. 2006); id 0 is the blank."""

    def __init__(self, parameters: TorchParameters) -> None:
        refuse_loss(parameters)
        self._warned = False

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """The ids of all texts in a row, and the length of each."""
        found = arrays(samples)
        if any(each.ndim != 1 for each in found):
            raise InputError("the data have no texts: parameters.input.ctc and a list are needed")
        return {
            LETTERS: torch.from_numpy(np.concatenate(found).astype(np.int64)),
            LENGTHS: torch.tensor([len(each) for each in found]),
            STEPS: torch.tensor([_steps(each) for each in found]),
        }

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of a batch; a text that needs more steps than the model has counts for
        nothing. Raises ParameterError where none of a batch has enough.
        """
        outputs = _logits(model(*inputs), inputs)
        steps, texts, alphabet = outputs.shape
        if len(targets[LETTERS]) and int(targets[LETTERS].max()) >= alphabet:
            highest = int(targets[LETTERS].max())
            raise ParameterError(f"letter {highest} is not in the model's alphabet of {alphabet}")
        self._check_steps(targets[STEPS], steps)
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
        return {OUTPUT: _logits(model(*inputs), inputs).transpose(0, 1)}

    def _check_steps(self, needed: torch.Tensor, steps: int) -> None:
        if int(needed.min()) > steps:
            raise ParameterError(
                f"texts of {int(needed.min())} steps are longer than the model's {steps}: "
                "make images wider, or timesteps more"
            )
        if int(needed.max()) > steps and not self._warned:
            self._warned = True
            log.warning(
                "a text needs %d steps, the model has %d: such texts are not learned",
                int(needed.max()),
                steps,
            )


def _logits(result: object, inputs: Inputs) -> torch.Tensor:
    """Logits T x N x A. Raises ParameterError for anything else."""
    found = tensor(result)
    if found.dim() != 3 or found.shape[1] != len(inputs[0]):
        raise ParameterError(
            f"the model gives {tuple(found.shape)} for {len(inputs[0])} images: steps x images x "
            "letters are expected"
        )
    return found


def _steps(letters: Array) -> int:
    """The fewest steps that read a text: letters, and a blank between equal ones."""
    return len(letters) + int((letters[1:] == letters[:-1]).sum())
