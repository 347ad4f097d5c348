"""Augmentation: pure functions on images of H x W x C and a random generator (contract 5.7)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ddstream.api.augment import Augmentation
from ddstream.data import Array
from ddstream.errors import ParameterError

_TURNS = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


def augment(image: Array, wanted: Augmentation, rng: np.random.Generator) -> Array:
    """A training sample's variation: cutout, crop, mirror, rotate, in this order."""
    if wanted.cutout and rng.random() < wanted.cutout:
        image = cutout(image, rng)
    if wanted.crop_size > 0:
        image = crop(image, wanted.crop_size, rng)
    if wanted.mirror and rng.random() < 0.5:
        image = mirror(image)
    if wanted.rotate:
        image = rotate(image, int(rng.integers(4)))
    return image


def mirror(image: Array) -> Array:
    """Left and right exchanged."""
    return cv2.flip(image, 1).reshape(image.shape)


def rotate(image: Array, turns: int) -> Array:
    """A square image turned counter-clockwise by `turns` times 90 degrees."""
    if turns % 4 == 0:
        return image
    # OpenCV drops a channel axis of one.
    return cv2.rotate(image, _TURNS[turns % 4 - 1]).reshape(image.shape)


def crop(image: Array, side: int, rng: np.random.Generator) -> Array:
    """A random square of the image. Raises ParameterError if the image is smaller."""
    height, width = image.shape[:2]
    check_crop(side, height, width)
    top = int(rng.integers(height - side + 1))
    left = int(rng.integers(width - side + 1))
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def check_crop(side: int, height: int, width: int) -> None:
    """Raises ParameterError if a crop of this side does not fit."""
    if side > min(height, width):
        raise ParameterError(f"crop_size {side} is larger than the images ({width} x {height})")


def cutout(image: Array, rng: np.random.Generator) -> Array:
    """A copy in which a rectangle is noise of 0 to 255.

    Its area is 0.02 to 0.4 of the image, its height 0.3 to 3 times its width; what would not fit
    is as high or as wide as the image.
    """
    height, width = image.shape[:2]
    area = rng.uniform(0.02, 0.4) * height * width
    aspect = rng.uniform(0.3, 3.0)
    high = min(height, max(1, round(math.sqrt(area * aspect))))
    wide = min(width, max(1, round(math.sqrt(area / aspect))))
    top = int(rng.integers(height - high + 1))
    left = int(rng.integers(width - wide + 1))
    image = image.copy()
    patch = image[top : top + high, left : left + wide]
    patch[:] = rng.integers(256, size=patch.shape)
    return image
