"""Tokens: a word for each place of a text that was masked, or that follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import refuse_loss, refuse_weights, stacked, tensor
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import OUTPUT, Sample

TOKENS = "tokens"
IGNORED = -1
"""The id of places that are not to be told."""


class Tokens:
    """Cross-entropy over the vocabulary at the places that have a target."""

    def __init__(self, parameters: TorchParameters) -> None:
        refuse_loss(parameters)
        refuse_weights(parameters)

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """Ids N x L, -1 where nothing is to be told."""
        return {TOKENS: torch.from_numpy(stacked(samples).astype(np.int64))}

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of the places that count; 0 where a batch has none."""
        logits = tensor(model(*inputs))
        # What fills the texts of a batch may have been left out.
        wanted = targets[TOKENS][:, : logits.shape[1]].to(logits.device, non_blocking=True)
        logits, wanted = logits.flatten(0, 1), wanted.flatten()
        total = functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum")
        return Losses(total / (wanted != IGNORED).sum().clamp(min=1))

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """Logits N x L x V, L being the length of the batch."""
        return {OUTPUT: tensor(model(*inputs))}
