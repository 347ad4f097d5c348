"""Noise: what cameras, files and conversions do to images (contract 5.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, cast

import cv2
import numpy as np

from ddstream.data import Array

Effect: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""Of a uint8 image, H x W or H x W x 3 BGR, another one; it may use chance."""

_SPECKLED: Final = 0.1
"""Part of the pixels that are black or white."""


def noisy(image: Array, prob: float, rng: np.random.Generator, *, colour: bool) -> Array:
    """The image under each effect that is drawn; without `colour` those that need none."""
    for effect, needs_colour in _EFFECTS:
        # Drawn in any case: other effects do not depend on whether there are colours.
        drawn = rng.random() < prob
        if drawn and (colour or not needs_colour):
            image = effect(image, rng)
    return image


def grey(image: Array, rng: np.random.Generator) -> Array:
    """Without colours."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def blurred(image: Array, rng: np.random.Generator) -> Array:
    """Out of focus."""
    return cv2.GaussianBlur(image, (7, 7), 1.5)


def equalised(image: Array, rng: np.random.Generator) -> Array:
    """The histogram of the luminance made even."""
    return _of_luminance(image, cv2.equalizeHist)


def locally_equalised(image: Array, rng: np.random.Generator) -> Array:
    """The histogram of the luminance made even in each part, with a limit of 4 (CLAHE)."""
    return _of_luminance(image, cv2.createCLAHE(clipLimit=4).apply)


def compressed(image: Array, rng: np.random.Generator) -> Array:
    """Through a JPEG file of any quality."""
    quality = (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(101)))
    _, file = cv2.imencode(".jpg", image, quality)
    return cast(Array, cv2.imdecode(file, cv2.IMREAD_UNCHANGED))


def eroded(image: Array, rng: np.random.Generator) -> Array:
    """Each pixel as dark as the darkest around it."""
    return cv2.erode(image, np.ones((3, 3), np.uint8))


def posterised(image: Array, rng: np.random.Generator) -> Array:
    """Four levels of each channel: the middles of values 64 wide."""
    return cv2.LUT(image, _LEVELS)


def inverted(image: Array, rng: np.random.Generator) -> Array:
    """A negative."""
    return cv2.bitwise_not(image)


def speckled(image: Array, rng: np.random.Generator) -> Array:
    """Salt and pepper."""
    chance = rng.random(image.shape[:2], dtype=np.float32)
    done = image.copy()
    done[chance < _SPECKLED / 2] = 0
    done[chance >= 1 - _SPECKLED / 2] = 255
    return done


def as_hsv(image: Array, rng: np.random.Generator) -> Array:
    """Hue, saturation and value in the place of the colours."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2HSV)


def as_lab(image: Array, rng: np.random.Generator) -> Array:
    """Lightness and the two axes of colour of CIELAB in the place of the colours."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2LAB)


def _of_luminance(image: Array, change: Callable[[Array], Array]) -> Array:
    if image.ndim == 2:
        return change(image)
    parts = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
    cv2.insertChannel(change(cv2.extractChannel(parts, 0)), parts, 0)
    return cv2.cvtColor(parts, cv2.COLOR_YCrCb2BGR)


_LEVELS: Final = (np.arange(256) // 64 * 64 + 32).astype(np.uint8)
_EFFECTS: Final[tuple[tuple[Effect, bool], ...]] = (
    (grey, True),
    (blurred, False),
    (equalised, True),
    (locally_equalised, False),
    (compressed, True),
    (eroded, False),
    (posterised, False),
    (inverted, False),
    (speckled, False),
    (as_hsv, True),
    (as_lab, True),
)
"""In their order, with whether they need colours."""
