"""What an objective is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch

from ddstream.api.torch import TorchParameters
from ddstream.data import Sample

Inputs: TypeAlias = tuple[torch.Tensor, ...]
"""The arguments of a model's forward pass, on its device."""
Tensors: TypeAlias = Mapping[str, torch.Tensor]
Model: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Losses:
    """The loss of a batch, a scalar, and the parts that it is told with."""

    total: torch.Tensor
    parts: Tensors = field(default_factory=dict)


class Objective(Protocol):
    """What a task asks of a model: its targets and losses in training, its results in prediction.

    One object serves one training or one loaded model. Raises ParameterError when it is made with
    a loss that it does not have.
    """

    def __init__(self, parameters: TorchParameters) -> None: ...

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """The targets of a batch on the CPU; called by loader threads.

        Raises InputError for samples without a target, or whose targets do not fit together.
        """

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """One training pass. Raises ParameterError where data and model do not fit."""

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """One pass for predictions: named results, batch axis first, as `Outputs` has them."""


@runtime_checkable
class Remembering(Protocol):
    """An objective whose losses depend on the batches before."""

    def memory(self) -> Tensors:
        """What it has kept of them, for a checkpoint."""

    def remember(self, memory: Tensors) -> None:
        """Go on with what a checkpoint holds."""
