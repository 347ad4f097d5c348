"""Where paths of requests may lie: below the operator's roots, after symlinks are resolved."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class OutsideRoots(Exception):
    """The path lies outside DDSTREAM_ROOTS."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path[:200]} is not below a folder of DDSTREAM_ROOTS")


class NotAFile(Exception):
    """The path leads to something that is no regular file."""


class TooLong(Exception):
    """The file is longer than it may be."""

    def __init__(self, path: str, most: int) -> None:
        super().__init__(f"{path[:200]} has more than {most} bytes")


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders that requests may name paths in; `ANYWHERE` is for in-process use."""

    folders: tuple[Path, ...]

    def resolve(self, path: str | Path) -> Path:
        """The real path. Raises OutsideRoots, also for a path that does not exist."""
        try:
            real = Path(path).expanduser().resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise OutsideRoots(str(path)) from error
        if any(real.is_relative_to(folder) for folder in self.folders):
            return real
        raise OutsideRoots(str(path))

    def content(self, path: Path, most: int) -> bytes:
        """The bytes of a file that `resolve` found.

        Raises what `open` does, and TooLong for more than `most` bytes.
        """
        with self.open(path) as file:
            found = os.fstat(file.fileno())
            content = file.read(most + 1) if found.st_size <= most else None
        if content is None or len(content) > most:
            raise TooLong(str(path), most)
        return content

    @contextmanager
    def open(self, path: Path) -> Iterator[BinaryIO]:
        """A file that `resolve` found, to be read.

        What is opened is checked, and not what the path meant a moment ago: a symlink that was put
        there since leads nowhere. Raises OutsideRoots for that, NotAFile for a folder, a device, a
        pipe or a socket, and OSError.
        """
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise NotAFile(str(path))
        with open(path, "rb", opener=_opened) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotAFile(str(path))
            real = _place(file.fileno(), path)
            if not any(real.is_relative_to(folder) for folder in self.folders):
                raise OutsideRoots(str(path))
            yield file


def _opened(path: str, flags: int) -> int:
    # A pipe would be waited for, and a terminal must not become ours.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _place(number: int, path: Path) -> Path:
    """Where an open file really lies; where the system does not tell, where its path leads."""
    try:
        return Path(os.readlink(f"/proc/self/fd/{number}"))
    except OSError:
        return path.resolve()


ANYWHERE = Roots((Path("/"),))
