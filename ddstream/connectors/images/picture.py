"""Picture: an image and what moves with it, its mask or its boxes; mirrored, turned, cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import cv2
import numpy as np

from ddstream.connectors.images.boxes import BOXES, LABELS, clipped
from ddstream.data import Array, Sample, Target
from ddstream.errors import ParameterError

_TURNS: Final = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels H x W x C; the classes of the pixels, H x W; or boxes M x 4 with M labels.

    Boxes are float32 xmin, ymin, xmax, ymax; the upper left pixel is from 0 to 1.
    """

    image: Array
    mask: Array | None = None
    boxes: Array | None = None
    labels: Array | None = None

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """What a sample shows."""
        image, target = sample.inputs["image"], sample.target
        if isinstance(target, Mapping):
            return cls(image, boxes=target[BOXES], labels=target[LABELS])
        masked = isinstance(target, np.ndarray) and target.ndim == 2
        return cls(image, mask=target if masked else None)  # type: ignore[arg-type]

    def within(self, sample: Sample) -> Sample:
        """The sample with this to show."""
        target: Target | None = sample.target
        if self.boxes is not None and self.labels is not None:
            target = {BOXES: self.boxes, LABELS: self.labels}
        elif self.mask is not None:
            target = self.mask
        return replace(sample, inputs={**sample.inputs, "image": self.image}, target=target)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]

    def mirrored(self) -> Self:
        """Left and right exchanged."""
        moved: dict[str, Any] = {"image": cv2.flip(self.image, 1).reshape(self.image.shape)}
        if self.mask is not None:
            moved["mask"] = cv2.flip(self.mask, 1)
        if self.boxes is not None:
            left, top, right, bottom = self.boxes.T
            width = self.size[1]
            moved["boxes"] = np.stack([width - right, top, width - left, bottom], axis=1)
        return replace(self, **moved)

    def turned(self, turns: int) -> Self:
        """Turned counter-clockwise by `turns` times 90 degrees."""
        if turns % 4 == 0:
            return self
        moved: dict[str, Any] = {"image": _turn(self.image, turns)}
        if self.mask is not None:
            moved["mask"] = _turn(self.mask, turns)
        if self.boxes is not None:
            moved["boxes"] = _turned_boxes(self.boxes, turns, *self.size)
        return replace(self, **moved)

    def cut(self, top: int, left: int, side: int) -> Self:
        """A square of it; boxes outside are dropped with their labels, the others are cut.

        Raises ParameterError if it is smaller.
        """
        check_crop(side, *self.size)
        rows, columns = slice(top, top + side), slice(left, left + side)
        moved: dict[str, Any] = {"image": np.ascontiguousarray(self.image[rows, columns])}
        if self.mask is not None:
            moved["mask"] = np.ascontiguousarray(self.mask[rows, columns])
        if self.boxes is not None and self.labels is not None:
            shifted = self.boxes - np.array((left, top, left, top), np.float32)
            kept, cut = clipped(shifted, side, side)
            moved |= {"boxes": cut[kept], "labels": self.labels[kept]}
        return replace(self, **moved)


def check_crop(side: int, height: int, width: int) -> None:
    """Raises ParameterError if a crop of this side does not fit."""
    if side > min(height, width):
        raise ParameterError(f"crop_size {side} is larger than the images ({width} x {height})")


def _turn(image: Array, turns: int) -> Array:
    turned = cv2.rotate(image, _TURNS[turns % 4 - 1])
    # OpenCV drops a channel axis of one.
    return turned.reshape(*turned.shape[:2], *image.shape[2:])


def _turned_boxes(boxes: Array, turns: int, height: int, width: int) -> Array:
    """Boxes of an image of this size once it is turned counter-clockwise."""
    for _ in range(turns % 4):
        left, top, right, bottom = boxes.T
        # What was at the right is above.
        boxes = np.stack([top, width - right, bottom, width - left], axis=1)
        height, width = width, height
    return boxes
