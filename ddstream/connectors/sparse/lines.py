"""Lines of sparse rows: `label id:value id:value ...`, as svmlight and libsvm write them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from ddstream.connectors.cells import number
from ddstream.connectors.locate import locate
from ddstream.errors import InputError, severity
from ddstream.roots import NotAFile, OutsideRoots, Roots

UNREADABLE = "invalid argument error reading SVM format line"
MOST_DIGITS: Final = 18
"""Of a feature's id: more than any index has."""

_LARGEST: Final = float(np.finfo(np.float32).max)


class Line(NamedTuple):
    """The number of a line, its label ("" without one), and its features by their ids."""

    number: int
    label: str
    ids: Sequence[int]
    values: Sequence[float]


def parsed(lines: Iterable[str], uri: str) -> Iterator[Line]:
    """The lines that hold something; what follows a `#` is a comment.

    Raises InputError with a line that cannot be read.
    """
    place = 0
    try:
        for place, text in enumerate(lines, start=1):
            tokens = text.partition("#")[0].split()
            if not tokens:
                continue
            label = "" if ":" in tokens[0] else tokens.pop(0)
            ids, values = _features(tokens)
            if ids is None or len(set(ids)) < len(ids):
                raise InputError(f"line {place} of {uri[:200]}: {UNREADABLE}: {text.strip()[:200]}")
            if any(abs(value) > _LARGEST for value in values):
                raise InputError(f"line {place} of {uri[:200]}: a value is too large")
            yield Line(place, label, ids, values)
    except UnicodeDecodeError as error:
        raise InputError(f"line {place + 1} of {uri[:200]} is no text of UTF-8") from error


def of_text(text: str, uri: str) -> Iterator[Line]:
    """The lines of a string."""
    return parsed(text.removeprefix("\ufeff").splitlines(), uri)


def of_bytes(content: bytes, uri: str) -> Iterator[Line]:
    """The lines of a text in UTF-8."""
    return parsed(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig"), uri)


@contextmanager
def of_file(path: str | Path, uri: str, roots: Roots) -> Iterator[Iterator[Line]]:
    """The lines of a file, read as they are taken. Raises InputError with the uri."""
    real = locate(path, ["."], roots)
    if real is None:
        raise InputError(f"{uri[:200]} does not exist")
    try:
        with roots.open(real) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
            yield parsed(text, uri)
    except OSError as error:
        reason = InputError(f"{uri[:200]} could not be read: {error}")
        raise reason.graded(severity(error)) from error
    except (NotAFile, OutsideRoots) as error:
        raise InputError(f"{uri[:200]} could not be read: it is no file below the roots") from error


def _features(tokens: Sequence[str]) -> tuple[list[int] | None, list[float]]:
    """Ids and values; None for the ids where a token is no feature."""
    ids, values = [], []
    for token in tokens:
        name, _, text = token.partition(":")
        value = number(text)
        # Only ASCII digits: `int` reads more.
        plain = name.isascii() and name.isdigit() and len(name) <= MOST_DIGITS
        if value is None or not plain:
            return None, []
        ids.append(int(name))
        values.append(value)
    return ids, values
