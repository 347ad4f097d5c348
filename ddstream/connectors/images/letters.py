"""Letters: what images read, from a list of images and texts (contract 3.3)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.connectors.images.entries import Entry, Labelled, lines
from ddstream.connectors.images.source import Source
from ddstream.data import Dimensions, Sample, Target
from ddstream.errors import InputError

BLANK = "0"
"""The name of id 0, which stands between letters."""


@dataclass(frozen=True, slots=True)
class Letters:
    """A line of a list is `image text`; the text may have spaces, the path too before a tab.

    `classes` is the alphabet of the training texts, in the order in which letters appear in them:
    the code point of each, as a number; id 0 is the blank. A letter that only a test set has is 0,
    which no model reads: such a text counts as read wrongly.
    """

    classes: Sequence[str] = ()
    ids: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        codes = (int(name) for name in self.classes)
        ids = {chr(code): number for number, code in enumerate(codes) if number}
        object.__setattr__(self, "ids", ids)

    def found(self, path: Path, source: Source) -> Labelled:
        """The images of a list with their texts."""
        if path.is_dir():
            raise InputError(f"ctc needs a list file, {path} is a folder")
        entries = []
        for number, line in lines(path):
            image, *text = line.split("\t" if "\t" in line else None, maxsplit=1)
            if not text:
                raise InputError(
                    f"line {number} of {path}: a path of an image and its text are expected; with "
                    "spaces in the path, put a tab between"
                )
            entries.append(Entry(image.strip(), path.parent, text=text[0].strip()))
        return Labelled(entries, self.classes)

    def learned(self, train: Labelled) -> Letters:
        """The layout with the alphabet of the training texts, unless it goes on with one.

        Raises InputError for a letter that the earlier training did not have.
        """
        # A dict keeps the order in which its keys came.
        letters = dict.fromkeys(letter for entry in train.entries for letter in entry.text)
        if not self.classes:
            return replace(self, classes=[BLANK, *(str(ord(letter)) for letter in letters)])
        if new := [letter for letter in letters if letter not in self.ids]:
            raise InputError(f"the model that is to go on has no letters {''.join(new[:20])!r}")
        return self

    def known(self, classes: Sequence[str]) -> Letters:
        """The layout with the alphabet of an earlier training. Raises InputError if it is none."""
        if not all(name.isdecimal() and int(name) <= sys.maxunicode for name in classes):
            raise InputError("corresp.txt of the repository holds no alphabet")
        return replace(self, classes=classes)

    def target(self, entry: Entry, sample: Sample, source: Source) -> Target:
        """The ids of the text's letters. Raises InputError before there is an alphabet."""
        if not self.classes:
            raise InputError("the model has not learned an alphabet yet")
        return np.array([self.ids.get(letter, 0) for letter in entry.text], np.int64)

    def made_by(self) -> Mapping[str, Any]:
        """What targets depend on, beside the pixels."""
        return {"ctc": True}

    def sized(self, dimensions: Dimensions) -> Dimensions:
        """The sizes of the samples with the size of the alphabet, the blank included."""
        return replace(dimensions, vocabulary=len(self.classes))
