"""Scaling of a table's columns: what they are scaled by, found in data, given or kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ddstream.api.csv import CsvInput
from ddstream.api.tables import PAIRS, ScaleType
from ddstream.connectors.series.bounds import Survey
from ddstream.data import Array
from ddstream.errors import InputError

_NAMES: Final[Mapping[ScaleType, tuple[str, str]]] = {"minmax": PAIRS[0], "znorm": PAIRS[1]}


@dataclass(frozen=True, slots=True)
class Scaling:
    """Two numbers a column, one-hot columns included: smallest and largest value, or mean and
    variance."""

    kind: ScaleType
    first: tuple[float, ...]
    second: tuple[float, ...]

    @classmethod
    def given(cls, wanted: CsvInput) -> Scaling | None:
        """That of a request; None if it has none."""
        if wanted.min_vals:
            return cls("minmax", wanted.min_vals, wanted.max_vals)
        return cls("znorm", wanted.mean_vals, wanted.variance_vals) if wanted.mean_vals else None

    @classmethod
    def from_json(cls, raw: Mapping[str, Sequence[float]]) -> Scaling | None:
        """The inverse of `to_json`; None of nothing."""
        for kind, (low, high) in _NAMES.items():
            if low in raw:
                return cls(kind, tuple(map(float, raw[low])), tuple(map(float, raw[high])))
        return None

    def to_json(self) -> dict[str, list[float]]:
        """What `body.parameters.input` of a training gives back."""
        low, high = _NAMES[self.kind]
        return {low: list(self.first), high: list(self.second)}

    def check(self, columns: int) -> None:
        """Raises InputError if there are not as many as columns."""
        if len(self.first) != columns:
            low = _NAMES[self.kind][0]
            raise InputError(f"{low} has {len(self.first)} values for {columns} columns")

    def scaled(self, values: Array) -> Array:
        """Rows of values: minmax into [0, 1] (D-26), znorm to mean 0 and variance 1.

        Columns of equal bounds are left unchanged, those without variance become 0.
        """
        first, second = np.array(self.first), np.array(self.second)
        if self.kind == "znorm":
            spread, origin = np.sqrt(second), first
        else:
            spread, origin = second - first, np.where(first == second, 0.0, first)
        with np.errstate(over="ignore"):
            found: Array = (values - origin) / np.where(spread == 0, 1.0, spread)
        return found


def missing(kind: ScaleType) -> InputError:
    """What is said where columns are to be scaled and nothing tells by what."""
    low, high = _NAMES[kind]
    return InputError(f"predict: failed acquiring scaling {low} or {high}")


@dataclass(slots=True)
class Measuring:
    """Finds what the columns of a training's tables are scaled by, rows after rows.

    It sees the columns of numbers; of words it is told in the end how often each is there.
    """

    kind: ScaleType
    survey: Survey = field(default_factory=Survey)

    def add(self, values: Array) -> None:
        """Take in rows of the columns of numbers."""
        self.survey.add(values)

    def scaling(self, columns: Sequence[Counter[str] | None], rows: int) -> Scaling:
        """What was found; `columns` has how often a word is there, None for a column of numbers."""
        survey, pairs, place = self.survey, list[tuple[float, float]](), 0
        for words in columns:
            if words is not None:
                pairs += [self._of_word(count, rows) for count in words.values()]
                continue
            pairs.append(self._of_numbers(survey, place))
            place += 1
        return Scaling(self.kind, tuple(a for a, _ in pairs), tuple(b for _, b in pairs))

    def _of_word(self, count: int, rows: int) -> tuple[float, float]:
        if self.kind == "minmax":
            return float(count == rows), float(count > 0)
        share = count / max(1, rows)
        return share, share * (1 - share)

    def _of_numbers(self, survey: Survey, place: int) -> tuple[float, float]:
        if self.kind == "minmax":
            return float(survey.low[place]), float(survey.high[place])
        return float(survey.mean[place]), float(survey.squares[place]) / max(1, survey.steps)
