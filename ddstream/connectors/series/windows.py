"""Windows: the pieces of a series that become samples, with what is to be told of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddstream.api.csvts import SeriesInput
from ddstream.connectors.series.bounds import Units
from ddstream.connectors.series.columns import Columns
from ddstream.data import Array, Dimensions, Sample
from ddstream.errors import InputError

SERIES = "series"


def starts(steps: int, length: int, stride: int) -> list[int]:
    """Where the windows of a series begin (contract 3.5): one every `stride` steps while it ends
    before the series does, then one that ends with it; none in a series shorter than one.

    A single step that would be left over gets no window of its own.
    """
    found = list(range(0, max(0, steps - length), stride))
    following = found[-1] + stride if found else 0
    if length <= steps and (following < steps - 1 or not found):
        found.append(steps - length)
    return found


def dimensions(columns: Columns, wanted: SeriesInput) -> Dimensions:
    """What samples of these columns are."""
    return Dimensions(
        outputs=len(columns.targets),
        columns=len(columns.inputs),
        steps=wanted.window,
        horizon=wanted.horizon,
        follows=wanted.forecast,
    )


@dataclass(frozen=True, slots=True)
class Cutting:
    """Makes samples of series whose columns are scaled by `units`.

    A sample's `meta` has what the task needs: `spread` and `origin` of what is told (a number each
    column: value = scaled * spread + origin), and whether that `follows` the input.
    """

    columns: Columns
    units: Units
    wanted: SeriesInput

    @property
    def length(self) -> int:
        """Steps of a labelled window, those that are to be told included."""
        return self.wanted.window + (self.wanted.horizon if self.wanted.forecast else 0)

    def labelled_starts(self, steps: int) -> list[int]:
        """Where the windows with targets begin."""
        return starts(steps, self.length, self.wanted.stride)

    def labelled(self, series: Array, start: int, uri: str) -> Sample:
        """A window of a scaled series, with its targets."""
        window = series[start : start + self.length]
        begin = self.wanted.window if self.wanted.forecast else 0
        target = np.ascontiguousarray(window[begin:, self.columns.targets])
        return Sample(
            f"{uri} #{start}_{start + self.length - 1}",
            self._inputs(window[: self.wanted.window]),
            target,
            meta=self.meta(),
        )

    def told(self, series: Array, uri: str) -> Iterator[Sample]:
        """What is to be predicted of a scaled series: the labels of the whole, or forecasts.

        Raises InputError for a series too short.
        """
        if not len(series):
            raise InputError(f"{uri[:200]} has no rows")
        if not self.wanted.forecast:
            last = len(series) - 1
            yield Sample(f"{uri} #0_{last}", self._inputs(series), meta=self.meta())
            return
        window = self.wanted.window
        found = starts(len(series), window, self.length)
        if not found:
            raise InputError(f"{uri[:200]} has {len(series)} steps, backcast_timesteps is {window}")
        for start in found:
            yield Sample(
                f"{uri} #{start}_{start + self.length - 1}",
                self._inputs(series[start : start + window]),
                meta=self.meta(),
            )

    def meta(self) -> dict[str, Any]:
        """What every sample carries for the task."""
        spread, origin = self.units.of(self.columns.targets)
        return {"spread": spread, "origin": origin, "follows": self.wanted.forecast}

    def _inputs(self, window: Array) -> dict[str, Array]:
        return {SERIES: np.ascontiguousarray(window[:, self.columns.inputs])}
