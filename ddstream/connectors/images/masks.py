"""Masks: a class for each pixel, from a list of images and of images of classes (contract 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from ddstream.connectors.images.decode import check_area, unreadable
from ddstream.connectors.images.entries import Entry, Labelled, lines, pair
from ddstream.connectors.images.fit import Fit
from ddstream.connectors.images.headers import read_header
from ddstream.connectors.images.palette import numbers, palette
from ddstream.connectors.images.source import Source
from ddstream.data import Array, Dimensions, Sample, Target
from ddstream.errors import InputError

_CHECKED: Final = 16
"""Masks of a list that are read at once, so that a wrong list is refused before any training."""


@dataclass(frozen=True, slots=True)
class Masks:
    """The value of a mask's pixel is its class, 0 to `nclasses` - 1; 0 does not bound them."""

    nclasses: int = 0
    classes: Sequence[str] = ()

    def found(self, path: Path, source: Source) -> Labelled:
        """The images of a list with their masks, the first of which are read and checked."""
        if path.is_dir():
            raise InputError(f"segmentation needs a list file, {path} is a folder")
        entries = []
        for number, line in lines(path):
            image, mask = pair(line, f"line {number} of {path}", "mask")
            entries.append(Entry(image, path.parent, text=mask))
        for entry in entries[:_CHECKED]:
            self._read(entry, source)
        return Labelled(entries)

    def learned(self, train: Labelled) -> Masks:
        """The same: masks name no classes."""
        return self

    def known(self, classes: Sequence[str]) -> Masks:
        """The same."""
        return self

    def target(self, entry: Entry, sample: Sample, source: Source) -> Target:
        """The mask as the sample has been resized, padded and cut: uint8 H x W."""
        height, width = sample.meta["size"]
        mask = self._read(entry, source)
        # A smaller mask of the same shape is that of a model that decides at a fraction.
        if abs(mask.shape[0] * width / height - mask.shape[1]) > 1:
            size = f"{mask.shape[1]} x {mask.shape[0]}"
            raise InputError(f"{entry.text[:200]} is {size}, its image {width} x {height}")
        return Fit.of(height, width, source.parameters).mask(mask)

    def made_by(self) -> Mapping[str, Any]:
        """What targets depend on, beside the pixels."""
        return {"segmentation": True, "nclasses": self.nclasses}

    def sized(self, dimensions: Dimensions) -> Dimensions:
        """The same: the classes of pixels are asked for."""
        return dimensions

    def _read(self, entry: Entry, source: Source) -> Array:
        content = source.content(entry, "mask")
        mask = _decoded(content, entry.text, source.limits.max_pixels)
        highest = int(mask.max())
        if highest >= (self.nclasses or 256):
            what = f"Dataset contains an invalid class: {highest}"
            raise InputError(f"{what} in file {entry.text} (nclasses={self.nclasses})")
        return mask.astype(np.uint8)


def _decoded(content: bytes, uri: str, max_pixels: int) -> Array:
    """The values of a grey image, or the numbers of colours in a palette, as its file has them."""
    header = read_header(content)
    if header is None or not header.complete:
        raise unreadable(uri)
    check_area(header.height, header.width, uri, max_pixels)
    try:
        mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise unreadable(uri) from error
    if mask is None:
        raise unreadable(uri)
    if mask.ndim == 2:
        return mask
    if (colours := palette(content)) is not None:
        return numbers(mask[..., :3], colours)
    if (mask[..., :3] != mask[..., :1]).any():
        raise unreadable(uri, "a mask must be grey, or have a palette")
    return mask[..., 0]
