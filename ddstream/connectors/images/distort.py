"""Distortion: other light and other colours (contract 5.7, with the ranges that are meant)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from ddstream.data import Array

BRIGHTNESS: Final = 32.0
"""Most that is added to a value."""
FACTORS: Final = (0.5, 1.5)
"""What contrast and saturation are multiplied by."""
HUE: Final = 36.0
"""Most degrees that hues turn by."""


def distorted(image: Array, prob: float, rng: np.random.Generator, *, colour: bool) -> Array:
    """A uint8 image, H x W or H x W x 3 BGR, under each change that is drawn.

    The contrast changes after the brightness or after the hue, as chance has it.
    """
    contrast_first = bool(rng.integers(2))
    before, after = ((contrasted,), ()) if contrast_first else ((), (contrasted,))
    changes = (brightened, *before, saturated, tinted, *after, shuffled)
    for change in changes:
        drawn = rng.random() < prob
        if drawn and (colour or change in _GREY):
            image = change(image, rng)
    return image


def brightened(image: Array, rng: np.random.Generator) -> Array:
    """Lighter or darker."""
    return cv2.LUT(image, _table(np.arange(256) + rng.uniform(-BRIGHTNESS, BRIGHTNESS)))


def contrasted(image: Array, rng: np.random.Generator) -> Array:
    """All values multiplied."""
    return cv2.LUT(image, _table(np.arange(256) * rng.uniform(*FACTORS)))


def saturated(image: Array, rng: np.random.Generator) -> Array:
    """Colours stronger or paler."""
    factor = rng.uniform(*FACTORS)
    return _in_hsv(image, 1, _table(np.arange(256) * factor))


def tinted(image: Array, rng: np.random.Generator) -> Array:
    """All hues turned."""
    # A hue of 8 bits counts steps of 2 degrees.
    turn = round(rng.uniform(-HUE, HUE) / 2)
    return _in_hsv(image, 0, _table((np.arange(256) + turn) % 180))


def shuffled(image: Array, rng: np.random.Generator) -> Array:
    """The channels in another order."""
    order = rng.permutation(3).tolist()
    return cv2.merge([cv2.extractChannel(image, each) for each in order])


def _in_hsv(image: Array, channel: int, table: Array) -> Array:
    parts = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(parts, channel), table), parts, channel)
    return cv2.cvtColor(parts, cv2.COLOR_HSV2BGR)


def _table(values: Array) -> Array:
    """What each value of 8 bits becomes."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_GREY: Final[tuple[Callable[[Array, np.random.Generator], Array], ...]] = (brightened, contrasted)
"""The changes that need no colours."""
