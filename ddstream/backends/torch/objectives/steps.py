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

    A model whose output begins with what is left of its input (`backcast` steps, N-BEATS) is also
    drawn to leave nothing, as much as its `backcast_loss_coef` says.
    """

    def __init__(self, parameters: TorchParameters) -> None:
        self._distance = numbers_loss(parameters)

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """Numbers N x T x D."""
        return {SERIES: torch.from_numpy(stacked(samples).astype(np.float32))}

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of a batch."""
        outputs = tensor(model(*inputs))
        wanted = targets[SERIES].to(outputs.device, non_blocking=True)
        left = outputs[:, : outputs.shape[1] - wanted.shape[1]]
        told = outputs[:, left.shape[1] :]
        if told.shape != wanted.shape:
            raise ParameterError(
                f"the data has steps of {tuple(wanted.shape[1:])}, "
                f"the model gives {tuple(outputs.shape[1:])}"
            )
        loss = self._distance(told, wanted)
        coefficient = float(getattr(_whole(model), "backcast_loss_coef", 0.0))
        if coefficient and left.shape[1]:
            loss = loss + coefficient * self._distance(left, torch.zeros_like(left))
        return Losses(loss)

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """The steps told, N x T x D, without what is left of the input."""
        left = int(getattr(_whole(model), "backcast", 0))
        return {OUTPUT: tensor(model(*inputs))[:, left:]}


def _whole(model: Model) -> object:
    # A model that several devices train is wrapped.
    return getattr(model, "module", model)
