"""Entries: what the lines of a list file, or the files of class folders, say of each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ddstream.errors import InputError


class Entry(NamedTuple):
    """An image by its path, which may be `beside` its list file, and what its label is.

    `values` are the numbers of a label; `text` is the path of its boxes or mask, or what it reads.
    """

    path: str
    beside: Path
    values: tuple[float, ...] = ()
    text: str = ""


class Labelled(NamedTuple):
    """What a folder or a list file holds."""

    entries: Sequence[Entry]
    classes: Sequence[str] = ()
    warnings: Sequence[str] = ()


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a list that have something in them, with their numbers from 1 on.

    Raises InputError for what is no text of UTF-8.
    """
    try:
        # A pipe would be waited for.
        text = file.read_text(encoding="utf-8-sig") if file.is_file() else None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} could not be read as a list of images") from error
    if text is None:
        raise InputError(f"{file} is no file")
    # Not `splitlines`: texts may have what else Unicode takes for an end of line.
    for number, line in enumerate(text.split("\n"), start=1):
        if stripped := line.strip():
            yield number, stripped


def pair(line: str, where: str, what: str) -> tuple[str, str]:
    """Two paths: around a tab, or else words without spaces. Raises InputError with `where`."""
    parts = line.split("\t") if "\t" in line else line.split()
    if len(parts) != 2:
        raise InputError(
            f"{where}: a path of an image and one of its {what} are expected; with spaces in "
            "them, put a tab between"
        )
    return parts[0].strip(), parts[1].strip()
