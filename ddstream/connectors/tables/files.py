"""Files of tables: a file, or those of a folder, read in pieces of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ddstream.connectors.cells import Dialect, Row
from ddstream.connectors.locate import files_below, locate
from ddstream.connectors.tables.matrices import CHUNK
from ddstream.errors import InputError
from ddstream.roots import Roots


class Piece(NamedTuple):
    """Some rows of a table, and its header."""

    uri: str
    header: Sequence[str]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a data set: each file begins with a header."""

    name: str
    files: Sequence[Path]
    dialect: Dialect
    roots: Roots

    @classmethod
    def at(cls, path: Path, dialect: Dialect, roots: Roots) -> Tables:
        """A file, or all files below a folder. Raises InputError if there is nothing."""
        real = locate(path, ["."], roots)
        if real is None:
            raise InputError(f"table {str(path)[:200]} does not exist")
        files = list(files_below(real)) if real.is_dir() else [real]
        if not files:
            raise InputError(f"folder {str(path)[:200]} has no table")
        return cls(path.name, files, dialect, roots)

    def pieces(self) -> Iterator[Piece]:
        """All rows, never more than a few at a time; a table without rows gives one empty piece.

        Raises InputError for a file that cannot be read or has no header.
        """
        for file in self.files:
            with self.dialect.of_file(file, str(file), self.roots) as rows:
                first = next(rows, None)
                if first is None:
                    raise InputError(f"{file} is empty: a header is expected")
                header = [cell.strip() for cell in first.cells]
                yield Piece(str(file), header, list(islice(rows, CHUNK)))
                while more := list(islice(rows, CHUNK)):
                    yield Piece(str(file), header, more)
