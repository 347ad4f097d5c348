"""Reconstruction: a model that gives back what it was given."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import numbers_loss, tensor, told_apart
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import OUTPUT, Sample


class Reconstruction:
    """A distance between input and output; a prediction is that distance, one number a sample."""

    def __init__(self, parameters: TorchParameters) -> None:
        self._distance = numbers_loss(parameters)

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """None: the input is the target."""
        return {}

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of a batch."""
        given, outputs = self._pair(model, inputs)
        return Losses(self._distance(outputs, given))

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """The loss of each sample, N x 1."""
        given, outputs = self._pair(model, inputs)
        each = [self._distance(told, came) for told, came in zip(outputs, given, strict=True)]
        return {OUTPUT: torch.stack(each).unsqueeze(1)}

    def _pair(self, model: Model, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = tensor(model(*inputs)).reshape(len(inputs[0]), -1)
        given = inputs[0].reshape(len(inputs[0]), -1)
        told_apart(given.shape[1], outputs.shape[1])
        return given, outputs
