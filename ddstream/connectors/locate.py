"""Locating: which file below the roots a path means, and which files a folder has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ddstream.errors import InputError
from ddstream.roots import OutsideRoots, Roots

LONGEST_PATH = 4096
"""Longer strings are content: no system has such paths."""


def locate(path: str | Path, folders: Iterable[str | Path], roots: Roots) -> Path | None:
    """The first of `folders` / `path` that exists, as a real path below `roots`; None if none does.

    An absolute path is itself. Raises InputError if nothing below the roots was found and a
    candidate lies outside, whether or not it exists.
    """
    outside: OutsideRoots | None = None
    candidates = [Path(path)] if Path(path).is_absolute() else [Path(f) / path for f in folders]
    for candidate in candidates:
        try:
            real = roots.resolve(candidate)
        except OutsideRoots as error:
            outside = error
            continue
        if os.path.exists(real):
            return real
    if outside is not None:
        raise InputError(str(outside)) from outside
    return None


def files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every file in a folder and in those below it, sorted by name; names with a dot are hidden.

    Symlinks are followed, but not back into `above`, the folders that led here.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in visible(folder):
        if entry.is_dir():
            yield from files_below(entry, above | {real})
        else:
            yield entry


def visible(folder: Path) -> list[Path]:
    """What a folder has, sorted by name, without what a dot hides."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
