"""New points of a training's history, each with its iteration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ddstream.commands.workflow.run_folder import Points

EVERY_ITERATION = "train_loss"
"""A series with a point each iteration; others of its length do too, unless they are tests'."""
_TEST = "_test"
_OF_A_SET = re.compile(rf"{_TEST}\d+")


class Point(NamedTuple):
    """A value of a measure. Iterations count from 0; a test's is how many were done before it."""

    name: str
    value: float
    iteration: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a training makes its tests: it starts after `start` iterations, ends at `iterations`."""

    iterations: int
    test_interval: int
    start: int = 0

    def test(self, number: int, last: int) -> int:
        """The iteration of test `number` (from 0) since the start; `last` had one before it."""
        rounds, rest = divmod(self.start, self.test_interval)
        # A run that ended between an iteration and its test makes the test first.
        due = self.start > 0 and rest == 0 and last < self.start
        first = rounds if due else rounds + 1
        return min((first + number) * self.test_interval, self.iterations)


@dataclass(slots=True)
class NewPoints:
    """Finds what is new in the history of each look at a job.

    `known` are the points of earlier runs that this one goes on from. The history may tell when
    tests were made (`iteration_hist`); where it does not, the schedule does.
    """

    schedule: Schedule
    known: Points = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)

    def __call__(self, report: Mapping[str, Any]) -> Iterator[Point]:
        """The new points of a report; its live values where it has no history."""
        hist = report.get("measure_hist")
        if not hist:
            yield from self._live(report.get("measure") or {})
            return
        series = {name.removesuffix("_hist"): values for name, values in hist.items()}
        steps = report.get("measure_sampling") or {}
        for name, values in series.items():
            if name != "iteration" and not name.startswith(f"iteration{_TEST}"):
                places = self._places(name, series, int(steps.get(f"{name}_sampling", 1)))
                yield from self._new(name, values, places)

    def _places(self, name: str, series: Mapping[str, Sequence[Any]], step: int) -> list[int]:
        """The iterations of a series' points."""
        count = len(series[name])
        if count == len(series.get(EVERY_ITERATION, ())) and not _tested(name, series):
            return [index * step for index in range(count)]
        parallel = series.get(f"iteration{_suffix(name)}") or series.get("iteration") or ()
        if len(parallel) == count:
            return [int(value) for value in parallel]
        earlier = [iteration for iteration, _ in self.known.get(name, ())]
        last = max(earlier, default=-1)
        later = range(max(0, count - len(earlier)))
        return [*earlier[:count], *(self.schedule.test(number * step, last) for number in later)]

    def _new(self, name: str, values: Sequence[Any], places: Sequence[int]) -> Iterator[Point]:
        last = self._last.get(name)
        if last is None:
            last = max((iteration for iteration, _ in self.known.get(name, ())), default=-1)
        for place, value in zip(places, values, strict=True):
            if place > last and value is not None and math.isfinite(value):
                last = place
                yield Point(name, float(value), place)
        self._last[name] = last

    def _live(self, measure: Mapping[str, Any]) -> Iterator[Point]:
        iteration = int(measure.get("iteration") or 0)
        for name, value in measure.items():
            if isinstance(value, float) and name != "iteration":
                yield from self._new(name, [value], [iteration])


def _tested(name: str, series: Iterable[str]) -> bool:
    """Whether a test measures it: each test set has a series of its own beside the mean."""
    return bool(_OF_A_SET.search(name)) or any(
        _OF_A_SET.sub("", other) == name for other in series if other != name
    )


def _suffix(name: str) -> str:
    """`_test0` of `acc_test0`; empty for a mean over the test sets."""
    stem, found, number = name.rpartition(_TEST)
    return f"{_TEST}{number.split('_')[0]}" if found and stem else ""
