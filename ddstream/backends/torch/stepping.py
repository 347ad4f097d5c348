"""Stepping: batches change the weights of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.inputs import arguments
from ddstream.backends.torch.loader import Loaded
from ddstream.backends.torch.model import Model, body
from ddstream.backends.torch.objectives import Inputs, Losses, Objective, Tensors
from ddstream.backends.torch.solvers import clip, make_solver, resumed


@dataclass(frozen=True, slots=True)
class Stepped:
    """What an iteration gave: its mean loss, the parts of it, the rate that it was made with."""

    loss: float
    learning_rate: float
    parts: Mapping[str, float] = field(default_factory=dict)


class Stepping:
    """Holds a model on its device, and the solver that changes its weights."""

    def __init__(
        self,
        model: Model,
        objective: Objective,
        parameters: TorchTraining,
        device: torch.device,
    ) -> None:
        self._model = model
        self._objective = objective
        self._solver = parameters.solver
        self._device = device
        self._frozen = parameters.freeze_traced
        self.module = model.module.to(device).to(memory_format=torch.channels_last)
        self._optimizer = make_solver(self.module.parameters(), parameters.solver)
        self._learning = [p for g in self._optimizer.param_groups for p in g["params"]]

    def train(self) -> None:
        """The next passes are for learning; what is frozen works as in prediction."""
        self.module.train()
        if self._frozen:
            body(self.module).eval()

    def evaluate(self) -> None:
        """The next passes are for results."""
        self.module.eval()

    def state(self) -> dict[str, Any]:
        """The solver's state, for a checkpoint."""
        return self._optimizer.state_dict()

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with a kept state; the request's options stay."""
        resumed(self._optimizer, state)

    def step(self, batches: Sequence[Loaded]) -> Stepped:
        """One change of the weights, by the mean gradient of the batches."""
        self._optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(batch, len(batches)) for batch in batches]
        clip(self._learning, self._solver)
        rate = float(self._optimizer.param_groups[0]["lr"])
        self._optimizer.step()
        # The one wait for the device in an iteration, after all its work was handed over.
        names = list(losses[0].parts)
        rows = [[each.total, *(each.parts[name] for name in names)] for each in losses]
        total, *parts = _summed(rows)
        return Stepped(total, rate, dict(zip(names, parts, strict=True)))

    def results(self, batch: Loaded) -> Tensors:
        """What the model makes of a batch, for a test."""
        return self._objective.results(self.module, self._inputs(batch))

    def _backward(self, batch: Loaded, share: int) -> Losses:
        losses = self._objective.losses(self.module, self._inputs(batch), batch.targets)
        total = losses.total / share
        total.backward()  # type: ignore[no-untyped-call]
        parts = {name: each.detach() / share for name, each in losses.parts.items()}
        return Losses(total.detach(), parts)

    def _inputs(self, batch: Loaded) -> Inputs:
        placed = {
            name: each.to(self._device, non_blocking=True) for name, each in batch.inputs.items()
        }
        return arguments(placed, batch.normalise, torch.float32, self._model.channels)


def _summed(rows: Sequence[Sequence[torch.Tensor]]) -> list[float]:
    sums: list[float] = (
        torch.stack([torch.stack([each.reshape(()).float() for each in row]) for row in rows])
        .sum(0)
        .tolist()
    )
    return sums
