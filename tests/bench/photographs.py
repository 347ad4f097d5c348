"""Photographs of 640 x 480 as JPEGs of about 100 KB: real pictures, as a camera would send them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data
from sklearn.datasets import load_sample_images

WANTED = 100_000
"""Bytes of a photograph, about."""
SIZE = (640, 480)
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def photographs() -> list[bytes]:
    """Six pictures and their mirror images."""
    pictures = [*load_sample_images().images, *(getattr(data, name)() for name in NAMES)]
    both = [variant for each in pictures for variant in (each, each[:, ::-1])]
    return [_encoded(cv2.resize(each[..., ::-1], SIZE)) for each in both]


def _encoded(picture: NDArray[Any]) -> bytes:
    tries = (_jpeg(picture, quality) for quality in range(99, 70, -1))
    return min(tries, key=lambda jpeg: abs(len(jpeg) - WANTED))


def _jpeg(picture: NDArray[Any], quality: int) -> bytes:
    pixels = np.ascontiguousarray(picture)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
