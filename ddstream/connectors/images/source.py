"""Source: what data sets need of their connector, to find and read files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ddstream.api.image import ImageInput
from ddstream.connectors.images.decode import unreadable
from ddstream.connectors.images.entries import Entry
from ddstream.connectors.locate import locate
from ddstream.connectors.protocol import Limits
from ddstream.data import Sample
from ddstream.errors import InputError, severity
from ddstream.repository import Repository
from ddstream.roots import NotAFile, OutsideRoots, TooLong

LONGEST_LABEL: Final = 64 << 20
"""Bytes of a file of boxes or of a mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The parameters of a connector, where its paths may lie, and how it reads an image."""

    parameters: ImageInput
    repository: Repository
    limits: Limits
    read: Callable[[str, Path], Sample]
    changed: Callable[[Mapping[str, Any]], Source]
    """The source of the same connector with other parameters; None is a parameter's default."""
    remembers: bool = True
    """Where files lie is kept: their samples will be asked for several times."""
    _located: dict[tuple[Path, str], str] = field(default_factory=dict)

    def locate(self, path: str | Path, *beside: Path) -> Path | None:
        """The file that a path means: below `root_folder`, the working directory, or `beside`."""
        root = self.parameters.root_folder
        return locate(path, [*filter(None, [root]), ".", *beside], self.limits.roots)

    def check_root(self) -> None:
        """Raises InputError if `root_folder` is given and no folder below the roots."""
        root = self.parameters.root_folder
        found = locate(root, ["."], self.limits.roots) if root else None
        if root and (found is None or not found.is_dir()):
            raise InputError(f"parameters.input.root_folder {root[:200]} is no folder")

    def image(self, entry: Entry) -> Sample:
        """The sample of an entry's image. Raises InputError with its path."""
        path = self._found(entry.path, entry.beside)
        if path is None:
            raise unreadable(entry.path)
        return self.read(entry.path, path)

    def content(self, entry: Entry, what: str) -> bytes:
        """The bytes of the file that an entry's text names. Raises InputError with `what` it is."""
        refusal = InputError(f"Could not open {what} file: {entry.text[:200]}")
        path = self._found(entry.text, entry.beside)
        if path is None:
            raise refusal
        try:
            return self.limits.roots.content(path, LONGEST_LABEL)
        except OSError as error:
            raise refusal.graded(severity(error)) from error
        except (NotAFile, OutsideRoots, TooLong) as error:
            raise refusal from error

    def _found(self, path: str, beside: Path) -> Path | None:
        # Found once: looking for a small file takes longer than decoding it.
        if (known := self._located.get((beside, path))) is None:
            found = self.locate(path, beside)
            if found is None:
                return None
            known = path if str(found) == path else str(found)
            if self.remembers:
                self._located[beside, path] = known
        return Path(known)
