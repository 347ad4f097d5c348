"""Drawing: a prediction painted over its image, for people."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from ddstream.data import Array

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_MASK_SHARE: Final = 0.5
_CAPTIONS: Final = 5
"""Lines that are written beside an image at most."""
_SMALLEST: Final = 256
"""Pixels of the shorter side that a picture has at least: text needs room."""


def drawn(image: Path, prediction: Mapping[str, Any]) -> bytes:
    """A PNG of the image with its boxes, its mask, or its classes and values in words.

    Raises ValueError for a file that is no image.
    """
    pixels = cv2.imdecode(np.fromfile(image, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{image} is no image")
    factor = max(1.0, _SMALLEST / min(pixels.shape[:2]))
    canvas: Array = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    if "imgsize" in prediction:
        canvas = _mask(canvas, prediction)
    boxes = [each for each in prediction.get("classes") or () if "bbox" in each]
    # The surest on top.
    for each in reversed(boxes):
        _box(canvas, each, factor)
    if not boxes and "imgsize" not in prediction:
        _write(canvas, captions(prediction))
    done, encoded = cv2.imencode(".png", canvas)
    if not done:
        raise ValueError(f"{image} could not be drawn")
    return encoded.tobytes()


def captions(prediction: Mapping[str, Any]) -> list[str]:
    """The surest classes, or the values, a line each."""
    found: Sequence[Mapping[str, Any]] = prediction.get("classes") or ()
    lines = [f"{each['cat']} {each['prob']:.3f}" for each in found if "prob" in each]
    values: Sequence[Mapping[str, Any]] = prediction.get("vector") or ()
    lines += [f"{each['cat']}: {each['val']:.4g}" for each in values]
    return lines[:_CAPTIONS]


def colour(name: str) -> tuple[int, int, int]:
    """A strong colour, BGR; the same name has the same always."""
    hue = zlib.crc32(name.encode()) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.95)
    return int(blue * 255), int(green * 255), int(red * 255)


def _mask(canvas: Array, prediction: Mapping[str, Any]) -> Array:
    size = prediction["imgsize"]
    classes = np.asarray(prediction["vals"]).reshape(size["height"], size["width"])
    classes = classes.astype(np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    for each in np.unique(classes[classes > 0]):
        palette[each] = colour(str(each))
    high, wide = canvas.shape[:2]
    large = cv2.resize(classes, (wide, high), interpolation=cv2.INTER_NEAREST)
    painted = cv2.addWeighted(canvas, 1 - _MASK_SHARE, palette[large], _MASK_SHARE, 0)
    # Class 0 is the background.
    return np.where((large > 0)[..., None], painted, canvas)


def _box(canvas: Array, element: Mapping[str, Any], factor: float) -> None:
    box = element["bbox"]
    corners = [round(box[name] * factor) for name in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = corners
    paint = colour(str(element["cat"]))
    cv2.rectangle(canvas, (left, top), (right, bottom), paint, 2)
    text = f"{element['cat']} {element['prob']:.2f}"
    _text(canvas, text, (left + 2, top - 4 if top > 16 else top + 14), paint)


def _write(canvas: Array, lines: Sequence[str]) -> None:
    for number, line in enumerate(lines, start=1):
        _text(canvas, line, (6, 18 * number), (255, 255, 255))


def _text(canvas: Array, text: str, at: tuple[int, int], paint: tuple[int, int, int]) -> None:
    # The fonts of OpenCV have ASCII only; the dark line below makes it readable everywhere.
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, at, _FONT, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(canvas, plain, at, _FONT, 0.5, paint, 1, cv2.LINE_AA)
