"""Encoding: rows of cells become rows of numbers, with targets and names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ddstream.connectors.cells import Row, check_width, numbers
from ddstream.connectors.tables.labels import word
from ddstream.connectors.tables.schema import Layout, Places, Schema
from ddstream.data import Array
from ddstream.errors import InputError

HINT = "use categoricals or ignore parameters instead"


def picked(rows: Sequence[Row], places: Sequence[int]) -> list[Row]:
    """The same rows with these cells alone."""
    return [Row(row.line, [row.cells[place] for place in places]) for row in rows]


def figures(rows: Sequence[Row], names: Sequence[str], uri: str) -> Array:
    """Cells of columns that hold numbers, float64; the error says what else could be done."""
    with _hinted():
        return numbers(rows, names, uri)


@contextmanager
def _hinted() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{error.detail}, {HINT}") from error


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes the model's columns of cells, in the way of a schema."""

    schema: Schema
    numbers: tuple[int, ...] = field(init=False)
    """Places among the inputs of the columns of numbers, and `into` among the model's columns."""
    into: tuple[int, ...] = field(init=False)
    words: tuple[tuple[int, int, Places], ...] = field(init=False)
    """Columns of words: the place among the inputs, the first column of the model, all words."""
    names: tuple[str, ...] = field(init=False)
    """Of the model's columns."""

    def __post_init__(self) -> None:
        plain, into, words, width = [], [], [], 0
        for place, column in enumerate(self.schema.columns):
            known = self.schema.words.get(column)
            if known is None:
                plain.append(place)
                into.append(width)
            else:
                words.append((place, width, {word(name): at for name, at in known.items()}))
            width += 1 if known is None else len(known)
        for name, value in (
            ("numbers", tuple(plain)),
            ("into", tuple(into)),
            ("words", tuple(words)),
            ("names", self.schema.expanded),
        ):
            object.__setattr__(self, name, value)

    def rows(self, rows: Sequence[Row], layout: Layout, uri: str) -> Array:
        """The model's columns of rows, scaled, float32.

        Raises InputError with line and column for a cell that cannot be used.
        """
        for row in rows:
            check_width(row, layout.names, uri)
        columns = self.schema.columns
        plain = picked(rows, [layout.inputs[place] for place in self.numbers])
        found = np.zeros((len(rows), len(self.names)))
        if self.into:
            found[:, self.into] = figures(plain, [columns[each] for each in self.numbers], uri)
        for place, first, known in self.words:
            cell = layout.inputs[place]
            for number, row in enumerate(rows):
                found[number, first + _place(row, cell, known, columns[place], uri)] = 1.0
        if self.schema.scaling is not None:
            found = self.schema.scaling.scaled(found)
        return self._narrow(found, rows, uri)

    def targets(self, rows: Sequence[Row], layout: Layout, uri: str) -> Array | None:
        """What the rows should give. Raises InputError if the labels are not there."""
        labels = self.schema.labels
        if labels.columns and not layout.labels:
            raise InputError(f"{uri[:200]} has no label column {labels.columns[0][:80]}")
        return labels.targets(picked(rows, layout.labels), uri)

    def _narrow(self, found: Array, rows: Sequence[Row], uri: str) -> Array:
        with np.errstate(over="ignore"):
            narrow = found.astype(np.float32)
        if not np.isfinite(narrow).all():
            row, column = (int(place) for place in np.argwhere(~np.isfinite(narrow))[0])
            raise InputError(
                f"line {rows[row].line} of {uri[:200]}, column {self.names[column][:80]}: "
                "the number is too large"
            )
        return narrow


def ids(rows: Sequence[Row], layout: Layout) -> list[str]:
    """The names of rows that have an id."""
    return [word(row.cells[layout.id]) for row in rows]


def _place(row: Row, cell: int, known: Places, column: str, uri: str) -> int:
    value = word(row.cells[cell])
    place = known.get(value)
    if place is None:
        raise InputError(
            f"line {row.line} of {uri[:200]}: unknown category {value[:80]} "
            f"for variable {column[:80]}"
        )
    return place
