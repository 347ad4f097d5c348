"""What a training tells of itself: its live values and the points of its history (contract 1.8)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddstream.api.solver import Solver
from ddstream.backends.torch.training.stepping import Stepped
from ddstream.measures import PER_CLASS, averaged

COUNTERS = ("iteration", "train_loss")
"""Members of a test's results that are no measures."""


@dataclass(frozen=True, slots=True)
class Step:
    """An iteration that was done: how many there are now, what it gave, its seconds."""

    iteration: int
    stepped: Stepped
    seconds: float


class LiveValues:
    """The current values of a training, and the remaining time."""

    def __init__(
        self,
        solver: Solver,
        names: Sequence[str],
        elapsed_ms: float,
        tested: Mapping[str, float],
    ) -> None:
        self._solver = solver
        self._test_ms = 0.0
        self._began = time.perf_counter() - elapsed_ms / 1e3
        self.last_test = dict(tested)
        """The points of the last test, one before a break too."""
        self._values: dict[str, Any] = {
            **tested,
            "test_names": {str(i): name for i, name in enumerate(names)},
            "test_sets_total": float(len(names)),
        }
        self.testing(0, 0, 0, active=False)

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds of training, those before a break included."""
        return (time.perf_counter() - self._began) * 1e3

    def values(self) -> dict[str, Any]:
        """A copy of all values."""
        values = dict(self._values)
        if "remain_time" in values:
            values["remain_time_str"] = days_to_seconds(values["remain_time"])
        return values

    def stepped(self, step: Step) -> dict[str, float]:
        """Note an iteration; gives its points."""
        milliseconds = step.seconds * 1e3
        batch = milliseconds / self._solver.batches
        points = {
            "elapsed_time_ms": self.elapsed_ms,
            "learning_rate": step.stepped.learning_rate,
            "train_loss": step.stepped.loss,
            **step.stepped.parts,
        }
        remain = self._remain_ms(step.iteration, milliseconds) / 1e3
        self._values |= points | {
            "iteration": float(step.iteration - 1),
            "iteration_duration_ms": milliseconds,
            "batch_duration_ms": batch,
            "iter_time": batch,
            "remain_time": remain,
        }
        return points

    def testing(self, index: int, processed: int, total: int, *, active: bool = True) -> None:
        """Note how far a test has come: the set's index, samples done and in all."""
        self._values |= {
            "test_active": float(active),
            "test_set_index": float(index),
            "test_processed": float(processed),
            "test_total": float(total),
        }

    def tested(self, results: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, float]:
        """Note the results of all test sets; gives their points."""
        self._test_ms = seconds * 1e3
        points = averaged([dict(_points("", result)) for result in results])
        for index, result in enumerate(results):
            points |= dict(_points(f"_test{index}", result))
        self.testing(0, 0, 0, active=False)
        self.last_test = points
        self._values |= points | {name: results[0][name] for name in COUNTERS}
        return points

    def _remain_ms(self, iteration: int, milliseconds: float) -> float:
        total, interval = self._solver.iterations, self._solver.test_interval
        tests = (total - 1) // interval + 1 - iteration // interval if interval > 0 else 1
        return milliseconds * (total - iteration) + self._test_ms * max(0, tests)


def days_to_seconds(seconds: float) -> str:
    """A duration in the reference's form.

    >>> days_to_seconds(7985.2)
    '0d:2h:13m:5s'
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d:{hours}h:{minutes}m:{rest}s"


def _points(suffix: str, result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in result.items():
        if isinstance(value, float) and name not in COUNTERS:
            yield f"{name}{suffix}", value
        elif name in PER_CLASS:
            for label, each in zip(result["labels"], value, strict=True):
                yield f"{name}{suffix}_{label}", each
