"""Time series: numbers for each step, told in the units of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.measures import timeserie
from ddstream.tasks.elements import ended
from ddstream.tasks.protocol import UNKNOWN, Rows, Tally, Traits

SERIES = "series"


class TimeSerie:
    """Reads outputs as steps; what they are scaled by stands in a sample's `meta`.

    That is `spread` and `origin`, a number each column (value = scaled * spread + origin), and
    `follows`, whether the steps come after those of the input.
    """

    name = "timeserie"
    measures: Sequence[str] = ("L1",)

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        pass

    def activate(self, outputs: Outputs) -> Array:
        """Scaled steps N x T x D of a batch."""
        return outputs[OUTPUT]

    def decode(self, row: Array, sample: Sample, output: OutputParameters) -> Json:
        """One element a step, in original units (contract 2.9)."""
        spread, origin = _units(sample, row)
        values = (row.astype(np.float64) * spread + origin).tolist()
        series = ended([{"out": step} for step in values])
        return {"uri": sample.uri, "loss": 0.0, "classes": [], "series": series}

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of steps T x D against those that came."""
        return _Windows(measures)

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return timeserie.knows(measure)


class _Windows:
    """Keeps the windows of a test set, and measures them at the end."""

    def __init__(self, measures: Sequence[str]) -> None:
        self._measures = measures
        self._told: list[Array] = []
        self._came: list[Array] = []
        self._before: list[Array] = []
        self._units: tuple[Array, Array] | None = None

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch. Raises InputError for a sample without a target."""
        for row, sample in zip(rows, samples, strict=True):
            target = sample.target
            if not isinstance(target, np.ndarray):
                raise InputError(f"{sample.uri[:200]} has no target")
            self._units = _units(sample, row)
            if row.shape != target.shape:
                raise ParameterError(
                    f"the data has steps of {target.shape}, the model tells {row.shape}"
                )
            self._told.append(row)
            self._came.append(target)
            self._before.append(_before(sample, target))

    def result(self) -> Mapping[str, Any]:
        """The measures of all that was added."""
        if self._units is None:
            return {}
        came, before = np.stack(self._came), np.stack(self._before)
        told = timeserie.Told(np.stack(self._told), came, *self._units, before)
        return timeserie.compute(self._measures, told)


def _units(sample: Sample, row: Array) -> tuple[Array, Array]:
    spread, origin = (np.asarray(sample.meta[name]) for name in ("spread", "origin"))
    if row.ndim != 2 or row.shape[1] != len(spread):
        raise ParameterError(
            f"the model tells steps of {row.shape[1:]}, the data has {len(spread)} columns to tell"
        )
    return spread, origin


def _before(sample: Sample, target: Array) -> Array:
    """The step before the first that is told: known where that follows the input."""
    if sample.meta["follows"]:
        last: Array = sample.inputs[SERIES][-1]
        return last
    return np.full(target.shape[1], np.nan)
