"""Labels of tables: what the label columns hold, and the targets that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from ddstream.connectors.cells import Row, number, numbers
from ddstream.data import Array
from ddstream.errors import InputError, ParameterError

Goal = Literal["nothing", "ids", "names", "several", "numbers"]
"""Class ids, names of classes, 0 and 1 of several labels, or numbers of a regression."""
MISSING = "missing label column parameter"
MOST_CLASSES = 1_000_000
"""Where `nclasses` is not given, a higher id is not the number of a class."""


@dataclass(frozen=True, slots=True)
class TableLabels:
    """What the label columns are, and the names of what is told by them.

    `classes` are those of the answers: of classes with names, or the columns themselves. `count` is
    how many there are; ids from there on are refused, unless it is 0.
    """

    goal: Goal
    columns: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    count: int = 0

    @classmethod
    def of(
        cls, columns: Sequence[str], offsets: Sequence[int], mllib: Mapping[str, Any]
    ) -> TableLabels:
        """The labels that a model with this raw `parameters.mllib` learns.

        Raises InputError for more or fewer columns than it can tell.
        """
        names = tuple(columns)
        spread = tuple(offsets) * (len(names) if len(offsets) == 1 else 1)
        nclasses, ntargets = _count(mllib, "nclasses"), _count(mllib, "ntargets")
        if not names:
            raise InputError(MISSING)
        if mllib.get("multi_label") is True and (len(names) > 1 or nclasses == 1):
            goal: Goal = "several"
            _check_number(len(names), nclasses, "nclasses")
        elif ntargets and not nclasses:
            goal = "numbers"
            _check_number(len(names), ntargets, "ntargets")
        elif len(names) > 1:
            raise InputError("several labels need parameters.mllib.multi_label or ntargets")
        else:
            return cls("ids", names, spread, (), nclasses)
        return cls(goal, names, spread, names, len(names))

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        lists = {name: tuple(raw[name]) for name in ("columns", "offsets", "classes")}
        return cls(goal=raw["goal"], count=int(raw["count"]), **lists)

    def to_json(self) -> dict[str, Any]:
        """For the repository."""
        return asdict(self)

    def learned(self, values: Iterable[str]) -> TableLabels:
        """The same, now that all values of the training's class column are known, in their order.

        Numbers are class ids; if anything else is among them, all are names.
        """
        if self.goal != "ids":
            return self
        found = list(values)
        read = [number(value) for value in found]
        ids = [int(each) + self.offsets[0] for each in read if each is not None]
        if len(ids) == len(found):
            count = self.count or max(ids, default=-1) + 1
            if count > MOST_CLASSES:
                raise InputError(
                    f"column {self.columns[0][:80]} has a class id of {str(count - 1)[:40]}"
                )
            return replace(self, count=count)
        if 0 < self.count < len(found):
            raise InputError(
                f"column {self.columns[0][:80]} has {len(found)} classes, "
                f"more than nclasses={self.count}"
            )
        return replace(self, goal="names", classes=tuple(found), count=self.count or len(found))

    def targets(self, rows: Sequence[Row], uri: str) -> Array | None:
        """Class ids N, int64, or vectors N x T, float32, of rows that hold the labels alone.

        Raises InputError with the line of a cell that is no such label.
        """
        if self.goal == "nothing":
            return None
        if self.goal == "names":
            return self._named(rows, uri)
        found = numbers(rows, self.columns, uri) + np.array(self.offsets)
        if self.goal == "ids":
            return self._ids(found[:, 0], rows, uri)
        if self.goal == "several":
            self._check((found == 0) | (found == 1), rows, uri, "neither 0 nor 1")
        else:
            self._check(np.abs(found) <= np.finfo(np.float32).max, rows, uri, "too large a number")
        narrow: Array = found.astype(np.float32)
        return narrow

    def _named(self, rows: Sequence[Row], uri: str) -> Array:
        places = {name: place for place, name in enumerate(self.classes)}
        found = [places.get(word(row.cells[0])) for row in rows]
        for place, row in zip(found, rows, strict=True):
            if place is None:
                raise InputError(
                    f"line {row.line} of {uri[:200]}: label {row.cells[0][:80]} found in test set "
                    "but not in train set"
                )
        return np.array(found, np.int64)

    def _ids(self, found: Array, rows: Sequence[Row], uri: str) -> Array:
        column = found[:, None]
        self._check(column == np.floor(column), rows, uri, "no class number")
        self._check(
            column >= 0,
            rows,
            uri,
            "a negative supervised discrete target (e.g. wrong use of label_offset)",
        )
        count = self.count or MOST_CLASSES
        many = f"no class below {count} (e.g. wrong number of classes specified with nclasses)"
        self._check(column < count, rows, uri, many)
        return found.astype(np.int64)

    def _check(self, right: Array, rows: Sequence[Row], uri: str, what: str) -> None:
        """Raises InputError for the first value that is not right."""
        wrong = np.argwhere(~right)
        if len(wrong):
            row, column = (int(place) for place in wrong[0])
            raise InputError(
                f"line {rows[row].line} of {uri[:200]}, column {self.columns[column][:80]}: "
                f"{rows[row].cells[column][:40]!r} is {what}"
            )


NOTHING = TableLabels("nothing")


def word(cell: str) -> str:
    """A word as it is compared and kept: without blanks around it, on one line."""
    return " ".join(cell.split())


def _check_number(given: int, wanted: int, name: str) -> None:
    if wanted and given != wanted:
        raise InputError(f"label names {given} columns, {name} is {wanted}")


def _count(mllib: Mapping[str, Any], name: str) -> int:
    count = mllib.get(name) or 0
    if not isinstance(count, int) or count < 0:
        raise ParameterError(f"parameters.mllib.{name} must be a number of 0 or more")
    return count
