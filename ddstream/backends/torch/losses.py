"""Losses by task (contract 5.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch.nn import functional

from ddstream.api.torch import TorchParameters, TorchTraining
from ddstream.errors import ParameterError

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Outputs and targets of a batch -> their mean loss."""

REGRESSION: Mapping[str, Loss] = {
    "": functional.l1_loss,
    "L1": functional.l1_loss,
    "l1": functional.l1_loss,
    "L2": functional.mse_loss,
    "l2": functional.mse_loss,
    "eucl": functional.mse_loss,
}


def check_loss(parameters: TorchParameters) -> None:
    """Raises ParameterError for a loss that the task does not have."""
    regression = parameters.ntargets and not parameters.nclasses
    known = REGRESSION if regression else ("",)
    if parameters.loss not in known:
        raise ParameterError(f"unknown loss {parameters.loss}")


def training_loss(parameters: TorchTraining, device: torch.device) -> Loss:
    """The loss of a training. Raises ParameterError for a wrong loss or wrong class weights."""
    check_loss(parameters)
    if parameters.ntargets and not parameters.nclasses:
        if parameters.class_weights:
            raise ParameterError("parameters.mllib.class_weights: a regression has no classes")
        return _regression(REGRESSION[parameters.loss])
    weights = _weights(parameters, device)
    if parameters.multi_label:
        return lambda outputs, targets: functional.binary_cross_entropy_with_logits(
            outputs, targets, weights
        )
    return lambda outputs, targets: functional.cross_entropy(outputs, targets, weights)


def _regression(loss: Loss) -> Loss:
    def compared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return loss(outputs.reshape(targets.shape), targets)

    return compared


def _weights(parameters: TorchTraining, device: torch.device) -> torch.Tensor | None:
    found = parameters.class_weights
    if not found:
        return None
    if len(found) != parameters.nclasses:
        raise ParameterError(
            f"parameters.mllib.class_weights has {len(found)} values "
            f"for {parameters.nclasses} classes"
        )
    return torch.tensor(found, device=device)
