"""Boxes: objects in images, from a list of images and files of boxes (contract 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ddstream.api.image import ImageInput
from ddstream.connectors.images.entries import Entry, Labelled, lines, pair
from ddstream.connectors.images.fit import Fit
from ddstream.connectors.images.labels import MOST_CLASSES
from ddstream.connectors.images.source import Source
from ddstream.data import Array, Dimensions, Sample, Target
from ddstream.errors import InputError

BOXES: Final = "boxes"
LABELS: Final = "labels"
_WHAT: Final = "bbox"
_SHARES: Final = "{}: all boxes lie within one pixel: they are in pixels, not shares of the image"


@dataclass(frozen=True, slots=True)
class Boxes:
    """A line of a box file is `class xmin ymin xmax ymax`, in pixels of the original image.

    Classes are 1 to `nclasses` (D-55); 0 does not bound them. An empty file is an image without
    objects.
    """

    nclasses: int = 0
    classes: Sequence[str] = ()

    def found(self, path: Path, source: Source) -> Labelled:
        """The images of a list with their box files, all of which are read and checked."""
        entries, furthest = [], 0.0
        if path.is_dir():
            raise InputError(f"bbox needs a list file, {path} is a folder")
        for number, line in lines(path):
            image, boxes = pair(line, f"line {number} of {path}", "boxes")
            entries.append(Entry(image, path.parent, text=boxes))
            furthest = max(furthest, self._read(entries[-1], source)[0].max(initial=0.0))
        return Labelled(entries, warnings=[_SHARES.format(path)] if 0 < furthest <= 1 else [])

    def learned(self, train: Labelled) -> Boxes:
        """The same: files of boxes name no classes."""
        return self

    def known(self, classes: Sequence[str]) -> Boxes:
        """The same."""
        return self

    def target(self, entry: Entry, sample: Sample, source: Source) -> Target:
        """The boxes in pixels of the sample: those that it shows, cut at its edges."""
        boxes, labels = self._read(entry, source)
        height, width = sample.meta["size"]
        inside, cut = clipped(boxes, height, width)
        if not inside.all():
            number = int(np.argmin(inside)) + 1
            raise InputError(
                f"box {number} of {entry.text[:200]} is outside its image ({width} x {height})"
            )
        fitted = Fit.of(height, width, source.parameters).boxes(cut)
        return visible(fitted, labels, sample.inputs["image"])

    def made_by(self) -> Mapping[str, Any]:
        """What targets depend on, beside the pixels."""
        return {"bbox": True, "nclasses": self.nclasses}

    def sized(self, dimensions: Dimensions) -> Dimensions:
        """The same: the classes of a detector are asked for."""
        return dimensions

    def _read(self, entry: Entry, source: Source) -> tuple[Array, Array]:
        content = source.content(entry, _WHAT)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{entry.text[:200]} is no text") from error
        rows = [
            self._row(line.split(), f"line {number} of {entry.text[:200]}", entry.text)
            for number, line in enumerate(text.split("\n"), start=1)
            if line.strip()
        ]
        table = np.array(rows, np.float64).reshape(-1, 5)
        return table[:, 1:], table[:, 0].astype(np.int64)

    def _row(self, words: Sequence[str], where: str, file: str) -> tuple[float, ...]:
        try:
            number, left, top, right, bottom = row = tuple(map(float, words))
        except ValueError as error:
            raise InputError(f"{where}: `class xmin ymin xmax ymax` is expected") from error
        if not all(map(math.isfinite, row)) or left >= right or top >= bottom:
            raise InputError(f"{where}: a box has xmin < xmax and ymin < ymax")
        if number < 1 or number != int(number) or number > (self.nclasses or MOST_CLASSES):
            what = f"Dataset contains an invalid class: {number:g}"
            raise InputError(f"{what} in file {file} (nclasses={self.nclasses})")
        return row


def refitted(sample: Sample, wanted: ImageInput) -> Sample:
    """A sample with boxes as `wanted` makes it, of one that was kept in another size."""
    image, target = sample.inputs["image"], sample.target
    assert isinstance(target, Mapping)
    fit = Fit.of(image.shape[0], image.shape[1], wanted)
    fitted = np.ascontiguousarray(fit.image(image, wanted))
    fitted = fitted.reshape(*fitted.shape[:2], image.shape[2])
    shown = visible(fit.boxes(target[BOXES]), target[LABELS], fitted)
    return replace(sample, inputs={**sample.inputs, "image": fitted}, target=shown)


def visible(boxes: Array, labels: Array, image: Array) -> dict[str, Array]:
    """The target of what an image shows of boxes, with their labels."""
    shown, cut = clipped(boxes, *image.shape[:2])
    return {BOXES: cut[shown].astype(np.float32), LABELS: labels[shown]}


def clipped(boxes: Array, height: int, width: int) -> tuple[Array, Array]:
    """Which boxes M x 4 have some area in an image of this size, and all, cut at its edges."""
    cut = np.clip(boxes, 0, np.array((width, height, width, height), boxes.dtype))
    return (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1]), cut
