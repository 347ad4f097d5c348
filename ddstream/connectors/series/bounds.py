"""Bounds of a series' columns: what they are scaled by, found in data or kept in `bounds.dat`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from ddstream.api.csvts import SeriesInput
from ddstream.api.tables import ScaleType
from ddstream.data import Array
from ddstream.errors import InputError

BOUNDS: Final = "bounds.dat"
_NAMES: Final[Mapping[ScaleType, tuple[str, str]]] = {
    "minmax": ("min_vals", "max_vals"),
    "znorm": ("mean_vals", "variance_vals"),
}


class Units(NamedTuple):
    """How scaled columns become what they were: `value = scaled * spread + origin`."""

    spread: Array
    origin: Array

    def scaled(self, values: Array) -> Array:
        """Rows of values, scaled, as float32."""
        found: Array = ((values - self.origin) / self.spread).astype(np.float32)
        return found

    def of(self, places: Sequence[int]) -> Units:
        """Those of some columns."""
        chosen = list(places)
        return Units(self.spread[chosen], self.origin[chosen])


@dataclass(frozen=True, slots=True)
class Bounds:
    """Two numbers a column: smallest and largest value, or mean and variance.

    `labels` are the places of the labels among the columns.
    """

    kind: ScaleType
    first: tuple[float, ...]
    second: tuple[float, ...]
    labels: tuple[int, ...] = ()

    @classmethod
    def given(cls, wanted: SeriesInput) -> Bounds | None:
        """Those of a request; None if it has none."""
        if wanted.min_vals:
            return cls("minmax", wanted.min_vals, wanted.max_vals)
        return cls("znorm", wanted.mean_vals, wanted.variance_vals) if wanted.mean_vals else None

    @classmethod
    def read(cls, content: bytes) -> Bounds | None:
        """What a `bounds.dat` holds; None if it holds no bounds."""
        lines = content.decode("utf-8", "replace").splitlines()
        pairs = {name.strip(): rest for name, _, rest in (line.partition(":") for line in lines)}
        try:
            labels = tuple(int(value) for value in _values(pairs.get("label_pos", "")))
            for kind, (low, high) in _NAMES.items():
                if low in pairs and high in pairs:
                    first, second = (tuple(map(float, _values(pairs[n]))) for n in (low, high))
                    return cls(kind, first, second, labels) if len(first) == len(second) else None
        except ValueError as error:
            raise InputError(f"{BOUNDS} of the repository is damaged: {error}") from error
        return None

    def file(self) -> bytes:
        """The content of `bounds.dat`, numbers of 15 digits."""
        low, high = _NAMES[self.kind]
        lines = [
            f"ncols: {len(self.first)}",
            f"nlabels: {len(self.labels)}",
            f"label_pos:  {' : '.join(map(str, self.labels))}",
            f"{low}:  {' : '.join(f'{value:.15g}' for value in self.first)}",
            f"{high}:  {' : '.join(f'{value:.15g}' for value in self.second)}",
        ]
        return ("\n".join(lines) + "\n").encode()

    def learned(self) -> dict[str, Any]:
        """What `body.parameters.input` of a training gives back."""
        low, high = _NAMES[self.kind]
        return {low: list(self.first), high: list(self.second)}

    def units(self) -> Units:
        """How columns are scaled: minmax into [-0.5, 0.5], znorm to mean 0 and variance 1.

        A column that never changes counts as one that spreads by one.
        """
        first, second = np.array(self.first), np.array(self.second)
        if self.kind == "minmax":
            spread = second - first
            spread[spread == 0] = 1.0
            return Units(spread, first + spread / 2)
        spread = np.sqrt(second)
        spread[spread == 0] = 1.0
        return Units(spread, first)

    def check(self, columns: int) -> None:
        """Raises InputError if there are not as many as columns."""
        if len(self.first) != columns:
            low = _NAMES[self.kind][0]
            raise InputError(f"{low} has {len(self.first)} values for {columns} columns")


def unscaled(columns: int) -> Units:
    """The units of columns that are left as they are."""
    return Units(np.ones(columns), np.zeros(columns))


@dataclass(slots=True)
class Survey:
    """Finds the bounds of many series, one after the other.

    Means and variances are merged exactly, by the pairwise update of Chan, Golub and LeVeque
    (1979); the variance is that of the population.
    """

    steps: int = 0
    low: Array = field(default_factory=lambda: np.array(np.inf))
    high: Array = field(default_factory=lambda: np.array(-np.inf))
    mean: Array = field(default_factory=lambda: np.array(0.0))
    squares: Array = field(default_factory=lambda: np.array(0.0))

    def add(self, values: Array) -> None:
        """Take in a series, steps x columns."""
        count = len(values)
        if not count:
            return
        self.low = np.minimum(self.low, values.min(axis=0))
        self.high = np.maximum(self.high, values.max(axis=0))
        mean = values.mean(axis=0)
        apart, total = mean - self.mean, self.steps + count
        inside = ((values - mean) ** 2).sum(axis=0)
        self.squares = self.squares + inside + apart**2 * (self.steps * count / total)
        self.mean = self.mean + apart * (count / total)
        self.steps = total

    def bounds(self, kind: ScaleType, labels: Sequence[int]) -> Bounds:
        """What was found, to the digits that `bounds.dat` keeps."""
        pairs = (
            (self.low, self.high)
            if kind == "minmax"
            else (self.mean, self.squares / max(1, self.steps))
        )
        first, second = (tuple(float(f"{value:.15g}") for value in each) for each in pairs)
        return Bounds(kind, first, second, tuple(labels))


def _values(text: str) -> list[str]:
    return [each for each in (part.strip() for part in text.split(":")) if each]
