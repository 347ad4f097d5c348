"""Fit: the way of an image into its sample, for its pixels, its boxes and its mask alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import cv2
import numpy as np

from ddstream.api.image import ImageInput
from ddstream.connectors.images.resize import canvas, resize, resized
from ddstream.data import Array
from ddstream.errors import InputError


class Size(NamedTuple):
    """Pixels of an image."""

    height: int
    width: int


class Window(NamedTuple):
    """A part of an image: its upper left corner, and its size."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Fit:
    """An image of `source` pixels is made `resized`, put on a black `canvas`, and cut.

    `corner` is where on the canvas the image's upper left corner lies (top, left); `window` is the
    part of the canvas that stays.
    """

    source: Size
    resized: Size
    canvas: Size
    corner: tuple[int, int]
    window: Window

    @classmethod
    def of(cls, height: int, width: int, wanted: ImageInput) -> Self:
        """The way of an image of this size. Raises InputError if a wanted crop does not fit."""
        size = Size(*resized(height, width, wanted))
        whole = Size(*canvas(*size, wanted))
        # Texts begin at the left.
        left = 0 if wanted.align else (whole.width - size.width) // 2
        corner = (whole.height - size.height) // 2, left
        return cls(Size(height, width), size, whole, corner, _centre(whole, wanted))

    def image(self, pixels: Array, wanted: ImageInput) -> Array:
        """The pixels H x W or H x W x C on their way; the result may be a view."""
        done = resize(pixels, self.resized.height, self.resized.width, wanted)
        return self._cut(self._padded(done))

    def mask(self, classes: Array) -> Array:
        """A mask H x W on its way: no class is made that was not there, padding is class 0."""
        size = (self.resized.width, self.resized.height)
        if classes.shape != tuple(self.resized):
            # The pixel at the centre, as for images; INTER_NEAREST takes the one at the corner.
            classes = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return np.ascontiguousarray(self._cut(self._padded(classes)))

    def boxes(self, boxes: Array) -> Array:
        """Boxes M x 4 of the source in pixels of the sample, where they may lie outside."""
        wide = self.resized.width / self.source.width
        high = self.resized.height / self.source.height
        left, top = self.corner[1] - self.window.left, self.corner[0] - self.window.top
        placed: Array = boxes * (wide, high, wide, high) + (left, top, left, top)
        return placed.astype(np.float32)

    @property
    def shown(self) -> tuple[float, float, float, float]:
        """The part of the source that the sample shows: left, top, right, bottom in its pixels,
        outside of it where the sample is padded."""
        left, top = self.window.left - self.corner[1], self.window.top - self.corner[0]
        right, bottom = left + self.window.width, top + self.window.height
        wide = self.source.width / self.resized.width
        high = self.source.height / self.resized.height
        return left * wide, top * high, right * wide, bottom * high

    def _padded(self, image: Array) -> Array:
        if self.canvas == self.resized:
            return image
        top, left = self.corner
        bottom = self.canvas.height - self.resized.height - top
        right = self.canvas.width - self.resized.width - left
        black = (0, 0, 0, 0)
        return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=black)

    def _cut(self, image: Array) -> Array:
        top, left, height, width = self.window
        return image[top : top + height, left : left + width]


def _centre(canvas: Size, wanted: ImageInput) -> Window:
    high, wide = wanted.crop_height or canvas.height, wanted.crop_width or canvas.width
    if high > canvas.height or wide > canvas.width:
        size = f"{canvas.width} x {canvas.height}"
        raise InputError(f"a crop of {wide} x {high} does not fit an image of {size}")
    return Window((canvas.height - high) // 2, (canvas.width - wide) // 2, high, wide)
