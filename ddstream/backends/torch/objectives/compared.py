"""What several objectives need: a model's tensor, losses of numbers, weights of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch.nn import functional

from ddstream.api.torch import TorchParameters, TorchTraining
from ddstream.data import Array, Sample, Stack
from ddstream.errors import InputError, ParameterError

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Outputs and targets of a batch -> their mean loss."""

NUMBERS: Mapping[str, Loss] = {
    "": functional.l1_loss,
    "L1": functional.l1_loss,
    "l1": functional.l1_loss,
    "L2": functional.mse_loss,
    "l2": functional.mse_loss,
    "eucl": functional.mse_loss,
}
"""Losses between numbers (contract 5.6)."""


def numbers_loss(parameters: TorchParameters) -> Loss:
    """The loss of a regression. Raises ParameterError for one that does not exist."""
    if parameters.loss not in NUMBERS:
        known = ", ".join(name for name in NUMBERS if name)
        raise ParameterError(f"unknown loss {parameters.loss}; there is: {known}")
    refuse_weights(parameters)
    return NUMBERS[parameters.loss]


def refuse_weights(parameters: TorchParameters) -> None:
    """Raises ParameterError where a task has no classes and weights of some are given."""
    if isinstance(parameters, TorchTraining) and parameters.class_weights:
        raise ParameterError("parameters.mllib.class_weights: this task has no classes")


def refuse_loss(parameters: TorchParameters) -> None:
    """Raises ParameterError where a task has one loss only and another is named."""
    if parameters.loss:
        raise ParameterError(f"unknown loss {parameters.loss}: this task has one loss only")


def class_weights(parameters: TorchParameters) -> torch.Tensor | None:
    """Weight of each class. Raises ParameterError for other than one number a class, from 0 on."""
    found = parameters.class_weights if isinstance(parameters, TorchTraining) else ()
    if not found:
        return None
    if len(found) != parameters.nclasses:
        raise ParameterError(
            f"parameters.mllib.class_weights has {len(found)} values "
            f"for {parameters.nclasses} classes"
        )
    if min(found) < 0 or not any(found):
        raise ParameterError("parameters.mllib.class_weights: none is negative, not all are 0")
    return torch.tensor(found)


def tensor(output: object) -> torch.Tensor:
    """A model's result: a tensor, or the first one of a tuple. Raises ParameterError otherwise."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise ParameterError(f"the model gives a {type(output).__name__}, not a tensor")
    return output


def arrays(samples: Sequence[Sample]) -> list[Array]:
    """The targets of samples that all have an array. Raises InputError for one without."""
    found = []
    for sample in samples:
        if sample.target is None or isinstance(sample.target, Mapping):
            raise InputError(f"{sample.uri} has no target")
        found.append(np.asarray(sample.target))
    return found


def stacked(samples: Sequence[Sample]) -> Array:
    """Targets of one shape, stacked. Raises InputError if they differ."""
    if isinstance(samples, Stack) and samples.targets is not None:
        return samples.targets
    try:
        return np.stack(arrays(samples))
    except ValueError as error:
        raise InputError("samples of one batch differ in their number of targets") from error


def told_apart(given: int, wanted: int) -> None:
    """Raises ParameterError where the data have another number of targets than the model."""
    if given != wanted:
        raise ParameterError(f"the data has {given} targets, the model {wanted}")
