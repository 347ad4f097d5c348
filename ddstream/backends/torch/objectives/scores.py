"""Scores: one row of numbers a sample, for classes, labels or targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import (
    class_weights,
    numbers_loss,
    refuse_loss,
    stacked,
    tensor,
    told_apart,
)
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import OUTPUT, Sample
from ddstream.errors import ParameterError
from ddstream.measures.classification import check_targets

SCORES = "scores"


class Scores:
    """Cross-entropy of classes, binary cross-entropy of labels, or a distance of numbers."""

    def __init__(self, parameters: TorchParameters) -> None:
        self._regression = bool(parameters.ntargets and not parameters.nclasses)
        self._multi_label = parameters.multi_label
        if self._regression:
            self._distance = numbers_loss(parameters)
        else:
            refuse_loss(parameters)
        self._weights = None if self._regression else class_weights(parameters)

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """Class ids N, or numbers N x D."""
        found = stacked(samples)
        whole = found.ndim == 1 and found.dtype.kind == "i"
        return {SCORES: torch.from_numpy(found.astype(np.int64 if whole else np.float32))}

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of a batch."""
        outputs = tensor(model(*inputs))
        outputs = outputs.reshape(len(outputs), -1)
        fitting = self._fitting(targets[SCORES], outputs.shape[1])
        placed = fitting.to(outputs.device, non_blocking=True)
        return Losses(self._loss(outputs, placed))

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """The scores as the model gives them."""
        return {OUTPUT: tensor(model(*inputs))}

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self._regression:
            return self._distance(outputs, targets)
        if self._weights is not None:
            self._weights = self._weights.to(outputs.device)
        if self._multi_label:
            return functional.binary_cross_entropy_with_logits(outputs, targets, self._weights)
        return functional.cross_entropy(outputs, targets, self._weights)

    def _fitting(self, targets: torch.Tensor, outputs: int) -> torch.Tensor:
        """Class ids N, or N x `outputs`. Raises ParameterError where data and model differ."""
        if self._regression:
            return _vectors(targets.float(), outputs)
        if targets.dim() == 1 and targets.dtype is torch.int64:
            check_targets(targets.numpy(), outputs)
            # Classes for a model of independent scores: one of its labels is a yes.
            return functional.one_hot(targets, outputs).float() if self._multi_label else targets
        if not self._multi_label:
            raise ParameterError(
                "the data has several labels or numbers a sample, but neither "
                "parameters.mllib.multi_label nor ntargets is given"
            )
        return _vectors(targets, outputs)


def _vectors(targets: torch.Tensor, outputs: int) -> torch.Tensor:
    rows = targets.reshape(len(targets), -1)
    told_apart(rows.shape[1], outputs)
    return rows
