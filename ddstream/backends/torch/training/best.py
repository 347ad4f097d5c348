"""The best model so far: over all test sets together, and for each of them (contract 4.9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddstream.measures import averaged
from ddstream.repository import BEST, Repository

PRIORITY = (
    "map",
    "meaniou",
    "mlacc",
    "delta_score_0.1",
    "bacc",
    "f1",
    "net_meas",
    "acc",
    "L1_mean_error",
    "eucll",
    "MASE",
    "OWA",
    "MAE",
    "MSE",
    "sMAPE",
    "MAPE",
    "l1",
    "percent",
)
"""The first of these measures that a test has decides; those after `eucll` are an addition."""
SMALLER = frozenset(PRIORITY[PRIORITY.index("L1_mean_error") :])


@dataclass(frozen=True, slots=True)
class Best:
    """An iteration, and the value of the measure that makes it the best one."""

    iteration: int
    metric: str
    value: float

    @classmethod
    def of(cls, iteration: int, result: Mapping[str, Any]) -> Best | None:
        """What a test says of an iteration; None without a measure that can decide."""
        for metric in PRIORITY:
            value = result.get(metric)
            if isinstance(value, float) and math.isfinite(value):
                return cls(iteration, metric, value)
        return None

    def beats(self, other: Best | None) -> bool:
        """At least as good as the other one; another measure starts anew."""
        if other is None or other.metric != self.metric:
            return True
        return self.value <= other.value if self.metric in SMALLER else self.value >= other.value


class BestModels:
    """The best iterations of a repository: one of all test sets, one of each test set.

    A resumed training goes on with what the files say, or with what its checkpoint has `kept`.
    """

    def __init__(
        self,
        repository: Repository,
        names: Sequence[str],
        *,
        resumed: bool,
        kept: Sequence[Sequence[Any] | None] = (),
    ) -> None:
        self._repository = repository
        self._names = names
        self._files = [BEST, *(f"best_model_test_{i}.txt" for i in range(len(names)))]
        if not resumed:
            # What was the best of an earlier training says nothing about this one.
            repository.remove(file.name for file in repository.path.glob("best_model*.txt"))
        self._slots = [self._read(file) for file in self._files]
        if len(kept) == len(self._slots):
            self._slots = [None if best is None else Best(*best) for best in kept]
            self.write([place for place, best in enumerate(self._slots) if best])

    @property
    def iterations(self) -> set[int]:
        """The iterations that are the best of anything."""
        return {best.iteration for best in self._slots if best is not None}

    def kept(self) -> list[list[Any] | None]:
        """For a checkpoint: plain values."""
        return [
            None if best is None else [best.iteration, best.metric, best.value]
            for best in self._slots
        ]

    def offer(self, iteration: int, results: Sequence[Mapping[str, Any]]) -> list[int]:
        """Note a test's results; gives the places that this iteration has taken."""
        taken = []
        for place, result in enumerate([averaged(results), *results]):
            best = Best.of(iteration, result)
            if best is not None and best.beats(self._slots[place]):
                self._slots[place] = best
                taken.append(place)
        return taken

    def write(self, places: Sequence[int]) -> None:
        """Write the files of these places."""
        for place in places:
            best = self._slots[place]
            assert best is not None
            text = f"iteration:{best.iteration}\n{best.metric}:{best.value}\n"
            if place > 0:
                text += f"test_name: {self._names[place - 1]}\n"
            self._repository.write(self._files[place], text.encode())

    def _read(self, file: str) -> Best | None:
        try:
            lines = (self._repository.path / file).read_text().splitlines()
            (_, iteration), (metric, value) = (line.split(":", 1) for line in lines[:2])
            return Best(int(iteration), metric, float(value))
        except (OSError, ValueError):
            return None
