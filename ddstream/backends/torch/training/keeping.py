"""Which checkpoints a training writes, and which of them stay: the last, the best, snapshots."""

from __future__ import annotations

import time
from collections.abc import Iterable

from torch import nn

from ddstream.api.solver import Solver
from ddstream.backends.torch.training.best import BestModels
from ddstream.backends.torch.training.checkpoints import (
    SolverState,
    remove_checkpoint,
    write_checkpoint,
)
from ddstream.repository import Repository


class Keeper:
    """Writes the checkpoints of one training, and removes those that it wrote in vain.

    `written` are iterations whose checkpoints are its own to remove.
    """

    def __init__(
        self, repository: Repository, solver: Solver, best: BestModels, written: Iterable[int]
    ) -> None:
        self._repository = repository
        self._solver = solver
        self._best = best
        self._written = set(written)
        self._last = time.monotonic()

    def due(self, iteration: int) -> bool:
        """Whether a checkpoint is due, by the count of iterations or by the clock."""
        seconds = self._solver.snapshot_interval
        late = seconds > 0 and time.monotonic() - self._last >= seconds
        return late or self._stays(iteration)

    def written_with(self, iteration: int) -> list[int]:
        """What is written once this iteration is."""
        return sorted(self._written | {iteration})

    def write(self, iteration: int, module: nn.Module, state: SolverState) -> None:
        """Write the checkpoint of an iteration; the one before stays until `clean`."""
        write_checkpoint(self._repository, iteration, module, state)
        self._written.add(iteration)
        self._last = time.monotonic()

    def clean(self, last: int) -> None:
        """Remove what neither is the last one, nor the best of anything, nor a snapshot."""
        wanted = {last, *self._best.iterations}
        stale = {each for each in self._written - wanted if not self._stays(each)}
        for iteration in sorted(stale):
            remove_checkpoint(self._repository, iteration)
        self._written -= stale

    def _stays(self, iteration: int) -> bool:
        return self._solver.snapshot > 0 and iteration % self._solver.snapshot == 0
