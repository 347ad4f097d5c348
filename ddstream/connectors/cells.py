"""Cells: text with separators becomes rows of strings, and those become numbers (RFC 4180)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from ddstream.connectors.locate import locate
from ddstream.data import Array
from ddstream.errors import InputError, severity
from ddstream.roots import NotAFile, OutsideRoots, Roots

_END: Final = "unexpected end of data"
"""What the reader says of quotes that are still open at the end."""
_UNCLOSED: Final = "a quote is opened and never closed"
_SHOWN: Final = 5
"""Most columns that an error names."""


class Row(NamedTuple):
    """The cells of a record, and the number of the line on which it ends."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What stands between two cells, and around a cell that holds it."""

    separator: str = ","
    quote: str = '"'

    def rows(self, lines: Iterable[str], uri: str) -> Iterator[Row]:
        """The records of a text in their order, blank lines left out.

        Raises InputError with the line where a record begins whose quotes do not match.
        """
        reader = csv.reader(
            lines, delimiter=self.separator, quotechar=self.quote, doublequote=True, strict=True
        )
        read = 0
        try:
            for cells in reader:
                read = reader.line_num
                if cells and (len(cells) > 1 or cells[0].strip()):
                    yield Row(read, cells)
        except csv.Error as error:
            said = _UNCLOSED if str(error) == _END else str(error)
            raise InputError(f"line {read + 1} of {uri[:200]}: {said}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{uri[:200]} is no text of UTF-8") from error

    def of_text(self, text: str, uri: str) -> Iterator[Row]:
        """The records of a string."""
        return self.rows(io.StringIO(text.removeprefix("\ufeff"), newline=""), uri)

    def of_bytes(self, content: bytes, uri: str) -> Iterator[Row]:
        """The records of a text in UTF-8, with or without its mark."""
        text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
        return self.rows(text, uri)

    @contextmanager
    def of_file(self, path: str | Path, uri: str, roots: Roots) -> Iterator[Iterator[Row]]:
        """The records of a file, read as they are taken. Raises InputError with the uri."""
        real = locate(path, ["."], roots)
        if real is None:
            raise InputError(f"{uri[:200]} does not exist")
        try:
            with roots.open(real) as file:
                text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                yield self.rows(text, uri)
        except OSError as error:
            reason = InputError(f"{uri[:200]} could not be read: {error}")
            raise reason.graded(severity(error)) from error
        except (NotAFile, OutsideRoots) as error:
            said = f"{uri[:200]} could not be read: it is no file below the roots"
            raise InputError(said) from error


def no_column(kind: str, name: str, names: Sequence[str], uri: str) -> InputError:
    """The error of a table that lacks a column; what it has tells of a wrong separator, too."""
    some = ", ".join(repr(each[:80]) for each in names[:_SHOWN])
    more = ", ..." if len(names) > _SHOWN else ""
    return InputError(
        f"cannot find {kind} column {name[:80]} in {uri[:200]}: its columns are {some}{more}"
    )


def check_width(row: Row, names: Sequence[str], uri: str) -> None:
    """Raises InputError for a record that has not one cell for each name."""
    if len(row.cells) > len(names):
        raise InputError(f"line {row.line} of {uri[:200]}: line has more columns than headers")
    if len(row.cells) < len(names):
        have, want = len(row.cells), len(names)
        raise InputError(f"line {row.line} of {uri[:200]} has {have} cells for {want} columns")


def number(cell: str) -> float | None:
    """The finite number that a cell holds; None if it holds anything else."""
    if not _plain(cell):
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _plain(text: str) -> bool:
    """No digits of other scripts, and none grouped as Python groups them: no table means that."""
    return text.isascii() and "_" not in text


def numbers(rows: Sequence[Row], names: Sequence[str], uri: str) -> Array:
    """Cells as float64, rows x columns; `names` are those of the columns.

    Raises InputError with line and column for a cell that holds no finite number.
    """
    if not rows:
        return np.empty((0, len(names)))
    found = np.full((1, 1), np.nan)
    if all(_plain("".join(row.cells)) for row in rows):
        with suppress(ValueError):
            found = np.array([row.cells for row in rows], np.float64)
    if found.shape == (len(rows), len(names)) and np.isfinite(found).all():
        return found
    # Only now is it worth a look at each cell.
    for row in rows:
        check_width(row, names, uri)
        for name, cell in zip(names, row.cells, strict=True):
            if number(cell) is None:
                raise InputError(
                    f"line {row.line} of {uri[:200]}, column {name[:80]}: "
                    f"{cell[:40]!r} is not a number"
                )
    return np.array([[float(cell) for cell in row.cells] for row in rows])
