"""Columns of a series: which of a table's are inputs, which are to be told, and their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from ddstream.api.csvts import SeriesInput
from ddstream.connectors.cells import Row, check_width, no_column, number, numbers
from ddstream.data import Array
from ddstream.errors import InputError

_CHUNK: Final = 4096
"""Rows that are text and numbers at the same time."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are used, by name, in the order of the training's tables.

    `header` is all of a table; `labels` are places among `used`, none in a forecast. Offsets are
    added to the labels.
    """

    header: tuple[str, ...]
    used: tuple[str, ...]
    labels: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()

    @classmethod
    def of(cls, header: Sequence[str], wanted: SeriesInput, uri: str) -> Columns:
        """Those of a table with this header. Raises InputError for a column that it lacks."""
        names = [name.strip() for name in header]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{uri[:200]} has two columns {twice[:80]!r}")
        if wanted.id and wanted.id not in names:
            raise no_column("id", wanted.id, names, uri)
        used = [name for name in names if name != wanted.id and name not in wanted.ignore]
        told = () if wanted.forecast else wanted.label
        for label in told:
            if label not in used:
                raise no_column("label", label, used, uri)
        if not wanted.forecast and not told:
            raise InputError("missing label column parameter")
        if len(used) <= len(told):
            raise InputError(
                f"label_size (output dim) {len(told)} leaves no input among {len(used)} columns"
            )
        offsets = wanted.label_offset * (len(told) if len(wanted.label_offset) == 1 else 1)
        places = tuple(used.index(label) for label in told)
        return cls(tuple(names), tuple(used), places, offsets[: len(told)])

    @property
    def inputs(self) -> list[int]:
        """Places among `used` of what a model is given."""
        return [place for place in range(len(self.used)) if place not in self.labels]

    @property
    def targets(self) -> list[int]:
        """Places among `used` of what it is to tell: the labels, or in a forecast all."""
        return list(self.labels) or self.inputs

    def table(self, rows: Iterator[Row], uri: str, *, labelled: bool = True) -> Array:
        """The numbers of a table whose header is its first row: steps x `used`, float64.

        Columns are found by their names. Without `labelled` those of labels may be missing, and
        what they hold means nothing. Raises InputError for a table that does not fit.
        """
        first = next(rows, None)
        if first is None:
            raise InputError(f"{uri[:200]} has no header")
        names = self.unnamed(first.cells)
        if names:
            return self._numbers(_and(first, rows), names, uri, labelled=labelled)
        return self._numbers(rows, [cell.strip() for cell in first.cells], uri, labelled=labelled)

    def unnamed(self, cells: Sequence[str]) -> Sequence[str]:
        """The columns of a table whose first row is this one and no header; else none.

        It then has all columns of the training's tables, or the inputs alone.
        """
        given = [cell.strip() for cell in cells]
        inputs = [self.used[place] for place in self.inputs]
        for names in (self.header, inputs):
            if len(given) == len(names) and given != list(names):
                pairs = zip(names, given, strict=True)
                if all(number(cell) is not None for name, cell in pairs if name in self.used):
                    return names
        return ()

    def _numbers(
        self, rows: Iterator[Row], names: Sequence[str], uri: str, *, labelled: bool
    ) -> Array:
        wanted = [
            place
            for place, name in enumerate(self.used)
            if name in names or labelled or place not in self.labels
        ]
        missing = [self.used[place] for place in wanted if self.used[place] not in names]
        if missing:
            raise InputError(f"{uri[:200]} has no column {missing[0][:80]}")
        cells = [names.index(self.used[place]) for place in wanted]
        parts = []
        while chunk := list(islice(rows, _CHUNK)):
            for row in chunk:
                check_width(row, names, uri)
            picked = [Row(row.line, [row.cells[cell] for cell in cells]) for row in chunk]
            parts.append(_bounded(picked, [self.used[place] for place in wanted], uri))
        steps = sum(map(len, parts))
        found = np.zeros((steps, len(self.used)))
        if parts:
            found[:, wanted] = np.concatenate(parts)
        found[:, list(self.labels)] += np.array(self.offsets)
        return found


def _bounded(rows: Sequence[Row], names: Sequence[str], uri: str) -> Array:
    """The numbers of rows. Raises InputError for one that no model can take."""
    found = numbers(rows, names, uri)
    large = np.argwhere(np.abs(found) > np.finfo(np.float32).max)
    if len(large):
        row, column = (int(place) for place in large[0])
        raise InputError(
            f"line {rows[row].line} of {uri[:200]}, column {names[column][:80]}: "
            "the number is too large"
        )
    return found


def _and(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows
