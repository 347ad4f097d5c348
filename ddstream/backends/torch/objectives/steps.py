"""Steps: numbers for each step of a series, or for the steps that follow it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import numbers_loss, stacked, tensor
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import OUTPUT, Sample
from ddstream.errors import ParameterError

SERIES = "series"


class Steps:
    """A distance between the steps told and those that came.

    A model whose output begins with what is left of its input (`backcast` steps, N-BEATS), or that
    gives it as its second result, is also drawn to leave nothing, as much as its
    `backcast_loss_coef` says. One that is `taught` gets the steps that came as its last argument.
    """

    def __init__(self, parameters: TorchParameters) -> None:
        self._distance = numbers_loss(parameters)

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """Numbers N x T x D."""
        return {SERIES: torch.from_numpy(stacked(samples).astype(np.float32))}

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of a batch."""
        wanted = targets[SERIES].to(inputs[0].device, non_blocking=True)
        taught = getattr(_whole(model), "taught", False)
        told, left = _parted(model(*inputs, wanted) if taught else model(*inputs), wanted.shape[1])
        if told.shape != wanted.shape:
            raise ParameterError(
                f"the data has steps of {tuple(wanted.shape[1:])}, "
                f"the model gives {tuple(told.shape[1:])}"
            )
        loss = self._distance(told, wanted)
        coefficient = float(getattr(_whole(model), "backcast_loss_coef", 0.0))
        if coefficient and left.numel():
            loss = loss + coefficient * self._distance(left, torch.zeros_like(left))
        return Losses(loss)

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """The steps told, N x T x D, without what is left of the input."""
        output = model(*inputs)
        left = 0 if isinstance(output, tuple) else int(getattr(_whole(model), "backcast", 0))
        return {OUTPUT: tensor(output)[:, left:]}


def _parted(output: object, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The steps told, and what is left of the input, which may be nothing."""
    told = tensor(output)
    if isinstance(output, tuple) and len(output) > 1 and isinstance(output[1], torch.Tensor):
        return told, output[1]
    left = told.shape[1] - steps
    return told[:, left:], told[:, :left]


def _whole(model: Model) -> object:
    # A model that several devices train is wrapped.
    return getattr(model, "module", model)
