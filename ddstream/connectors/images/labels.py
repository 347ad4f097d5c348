"""Labels: which target each image of a class folder or a list file has (contract 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from ddstream.api.image import ImageInput
from ddstream.connectors import cells
from ddstream.connectors.images.entries import Entry, Labelled, lines
from ddstream.connectors.images.source import Source
from ddstream.connectors.locate import files_below, visible
from ddstream.data import Dimensions, Sample, Target
from ddstream.errors import InputError, ParameterError

MOST_CLASSES: Final = 1 << 24
"""Where nothing bounds the classes: a larger number is none, and no memory would hold its model."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What labels are: one class, several classes (`multi_label`), or `ntargets` numbers.

    `nclasses` bounds the classes, 0 does not; `classes` are the names of the training folders.
    """

    nclasses: int = 0
    ntargets: int = 0
    multi_label: bool = False
    classes: Sequence[str] = ()

    @classmethod
    def of(cls, mllib: Mapping[str, Any], images: ImageInput) -> Self:
        """The labels that a model with this raw `parameters.mllib` learns."""
        multi_label = images.multi_label or mllib.get("multi_label") is True
        template_params = mllib.get("template_params")
        own = template_params if isinstance(template_params, Mapping) else {}
        nclasses = _count(mllib, "nclasses") or _count(own, "nclasses", "template_params")
        return cls(nclasses, _count(mllib, "ntargets"), multi_label)

    @property
    def regression(self) -> bool:
        """Labels are numbers, not classes."""
        return self.ntargets > 0 and not self.nclasses and not self.multi_label

    def found(self, path: Path, source: Source) -> Labelled:
        """The images of a folder with a folder a class, or of a list. Raises InputError."""
        return class_folders(path, self) if path.is_dir() else list_file(path, self)

    def learned(self, train: Labelled) -> Labels:
        """The labels with what the training set tells: names, and how many classes there are."""
        largest = max((int(value) for entry in train.entries for value in entry.values), default=-1)
        nclasses = self.nclasses or max(len(train.classes), largest + 1)
        known = nclasses if self.multi_label else self.nclasses
        return replace(self, nclasses=known, classes=train.classes)

    def known(self, classes: Sequence[str]) -> Labels:
        """The labels with the class names of an earlier training."""
        counted = self.nclasses or (len(classes) if self.multi_label else 0)
        return replace(self, classes=classes, nclasses=counted)

    def made_by(self) -> Mapping[str, Any]:
        """What targets depend on, beside the pixels."""
        several = self.nclasses if self.multi_label else 0
        return {"multi_label": several, "regression": self.regression}

    def sized(self, dimensions: Dimensions) -> Dimensions:
        """The same: classes and targets are asked for."""
        return dimensions

    def target(self, entry: Entry, sample: Sample, source: Source) -> Target:
        """The target of a sample: a class id, or a float32 vector (numbers, or 0 and 1)."""
        values = entry.values
        if self.regression:
            return np.array(values, np.float32)
        if not self.multi_label:
            return int(values[0])
        if not self.nclasses:
            raise InputError("multi_label needs parameters.mllib.nclasses")
        vector = np.zeros(self.nclasses, np.float32)
        vector[[int(value) for value in values]] = 1.0
        return vector

    def check(self, values: tuple[float, ...], where: str, file: Path) -> None:
        """Raises InputError if these numbers are no such label."""
        if self.regression:
            if len(values) != self.ntargets:
                raise InputError(f"{where}: {len(values)} targets, ntargets is {self.ntargets}")
            return
        if len(values) != 1 and not self.multi_label:
            raise InputError(f"{where}: one class number is expected, found {len(values)}")
        for value in values:
            if value < 0 or value != int(value) or value >= (self.nclasses or MOST_CLASSES):
                what = f"Dataset contains an invalid class: {value:g}"
                raise InputError(f"{what} in file {file} (nclasses={self.nclasses})")


def _count(raw: Mapping[str, Any], name: str, where: str = "parameters.mllib") -> int:
    count = raw.get(name) or 0
    if not isinstance(count, int) or count < 0:
        raise ParameterError(f"{where}.{name} must be a number of 0 or more")
    return count


def class_folders(folder: Path, labels: Labels) -> Labelled:
    """The images of a folder with one folder a class; ids follow the sorted names.

    Where `labels` has names already (a test set), classes are matched by them. Raises InputError
    for a class that there is no room for.
    """
    if labels.regression:
        raise InputError(f"a regression needs a list file, {folder} is a folder")
    inside = visible(folder)
    folders = [entry for entry in inside if entry.is_dir()]
    names = labels.classes or [each.name for each in folders]
    numbers = {name: number for number, name in enumerate(names)}
    entries: list[Entry] = []
    warnings: list[str] = []
    for each in folders:
        number = numbers.get(each.name)
        if number is None:
            raise InputError(f"class {each.name} of {folder} is not in the training set")
        if 0 < labels.nclasses <= number:
            raise InputError(
                f"class {each.name} of {folder} is one too many (nclasses={labels.nclasses})"
            )
        # One for all files of a class: there may be millions.
        label, before = (number,), len(entries)
        entries += [Entry(str(file), folder, label) for file in files_below(each)]
        if len(entries) == before:
            warnings.append(f"{folder}: class {each.name} has no files")
    if loose := len(inside) - len(folders):
        warnings.append(f"{folder}: {loose} files are in no class folder and were left out")
    return Labelled(entries, names, warnings)


def list_file(file: Path, labels: Labels) -> Labelled:
    """The images of a list: a line has a path, then the numbers of its label.

    Raises InputError with the line, or with the class that is not below `nclasses`.
    """
    entries = []
    for number, line in lines(file):
        path, values = _split(line)
        labels.check(values, f"line {number} of {file}", file)
        entries.append(Entry(path, file.parent, values))
    return Labelled(entries)


def _split(line: str) -> tuple[str, tuple[float, ...]]:
    """The path, which may have spaces, and the numbers at the end of a line."""
    values: list[float] = []
    for token in reversed(line.split()[1:]):
        value = cells.number(token)
        if value is None:
            break
        values.insert(0, value)
    path = line.rsplit(None, len(values))[0] if values else line
    return path, tuple(values)
