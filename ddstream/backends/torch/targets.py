"""Targets of a batch in the shape that the task's loss and measures take."""

from __future__ import annotations

import numpy as np

from ddstream.api.torch import TorchParameters
from ddstream.data import Array
from ddstream.errors import ParameterError
from ddstream.measures.classification import check_targets


def fitting(targets: Array, outputs: int, parameters: TorchParameters) -> Array:
    """Class ids N, or vectors N x `outputs`. Raises ParameterError where data and model differ."""
    if parameters.ntargets and not parameters.nclasses:
        return _vectors(targets.astype(np.float32), outputs)
    if targets.ndim == 1 and targets.dtype == np.int64:
        check_targets(targets, outputs)
        # Classes for a model of independent scores: one of its labels is a yes.
        return np.eye(outputs, dtype=np.float32)[targets] if parameters.multi_label else targets
    if not parameters.multi_label:
        raise ParameterError(
            "the data has several labels or numbers a sample, but neither "
            "parameters.mllib.multi_label nor ntargets is given"
        )
    return _vectors(targets, outputs)


def _vectors(targets: Array, outputs: int) -> Array:
    rows = targets.reshape(len(targets), -1)
    if rows.shape[1] != outputs:
        raise ParameterError(f"the data has {rows.shape[1]} targets, the model {outputs}")
    return rows
