"""Weights that follow those of the solver: slow ones that it looks back to, and their average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ddstream.api.solver import Solver


class Lookahead:
    """Every few steps the slow weights go a part of the way to the fast ones, which begin there
    again (Zhang et al. 2019)."""

    def __init__(self, weights: Sequence[torch.Tensor], solver: Solver) -> None:
        self._fast = weights
        self._slow = [each.detach().clone() for each in weights]
        self._every = solver.lookahead_steps
        self._part = solver.lookahead_alpha

    @torch.no_grad()
    def follow(self, iteration: int) -> None:
        """After the step of an iteration, counted from 0."""
        if (iteration + 1) % self._every == 0:
            for slow, fast in zip(self._slow, self._fast, strict=True):
                slow.lerp_(fast, self._part)
                fast.copy_(slow)

    def state(self) -> list[torch.Tensor]:
        """For a checkpoint."""
        return self._slow

    @torch.no_grad()
    def resume(self, state: Sequence[torch.Tensor]) -> None:
        """Go on with a kept state; without one the slow weights begin at the fast ones."""
        for slow, kept in zip(self._slow, state or self._fast, strict=True):
            slow.copy_(kept)


class Average:
    """The mean of the weights after each iteration, from some iteration on (stochastic weight
    averaging, Izmailov et al. 2018), and of what normalises batches with them.

    Where it is shown, the module has the average and this the weights.
    """

    def __init__(self, module: nn.Module, solver: Solver) -> None:
        tensors = [*module.parameters(), *module.buffers()]
        self._own = [each for each in tensors if each.is_floating_point()]
        self._other = [each.detach().clone() for each in self._own]
        self._from = solver.averages_from
        self._count = 0
        self._shown = False

    @torch.no_grad()
    def follow(self, iteration: int) -> None:
        """After the step of an iteration, counted from 0."""
        if iteration >= self._from:
            self._count += 1
            for mean, own in zip(self._other, self._own, strict=True):
                mean.lerp_(own, 1 / self._count)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within, the average is in the module, if there is one yet."""
        outermost = not self._shown
        if outermost:
            self._swap()
        try:
            yield
        finally:
            if outermost:
                self._swap()

    def state(self) -> dict[str, Any]:
        """For a checkpoint, which has the average itself as its weights."""
        return {"count": self._count, "weights": self._other if self._count else []}

    @torch.no_grad()
    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with a kept state, where the module has the weights of its checkpoint."""
        self._count = int(state.get("count", 0))
        if self._count:
            for mean, own, kept in zip(self._other, self._own, state["weights"], strict=True):
                mean.copy_(own)
                own.copy_(kept)

    @torch.no_grad()
    def _swap(self) -> None:
        self._shown = not self._shown
        if self._count:
            for mean, own in zip(self._other, self._own, strict=True):
                held = own.clone()
                own.copy_(mean)
                mean.copy_(held)
