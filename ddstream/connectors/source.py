"""Source: what data sets need of their connector, to find and read files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ddstream.api.image import ImageInput
from ddstream.connectors.decode import unreadable
from ddstream.connectors.entries import Entry
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
    _located: dict[str, str] = field(default_factory=dict)

    def locate(self, path: str | Path, *beside: Path) -> Path | None:
        """The file that a path means: below `root_folder`, the working directory, or `beside`."""
        root = self.parameters.root_folder
        return locate(path, [*filter(None, [root]), ".", *beside], self.limits.roots)

    def image(self, entry: Entry, *, again: bool) -> Sample:
        """The sample of an entry's image; `again` if it will be asked for several times.

        Raises InputError with its path.
        """
        # Found once: looking for a small file takes longer than decoding it.
        if (known := self._located.get(entry.path)) is None:
            path = self.locate(entry.path, entry.beside)
            if path is None:
                raise unreadable(entry.path)
            known = entry.path if str(path) == entry.path else str(path)
            if again:
                self._located[entry.path] = known
        return self.read(entry.path, Path(known))

    def content(self, entry: Entry, what: str) -> bytes:
        """The bytes of the file that an entry's text names. Raises InputError with `what` it is."""
        refusal = InputError(f"Could not open {what} file: {entry.text[:200]}")
        path = self.locate(entry.text, entry.beside)
        if path is None:
            raise refusal
        try:
            return self.limits.roots.content(path, LONGEST_LABEL)
        except OSError as error:
            raise refusal.graded(severity(error)) from error
        except (NotAFile, OutsideRoots, TooLong) as error:
            raise refusal from error
