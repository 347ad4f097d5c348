"""Decoding: encoded bytes, base64 or arrays become pixels, or a refusal that names the datum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import pybase64

from ddstream.connectors.images.headers import read_header
from ddstream.data import Array
from ddstream.errors import InputError

_MODEL_TYPES: Final = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How pixels are wanted: the order of colours, grey, or as the file has them."""

    rgb: bool
    bw: bool
    unchanged: bool
    max_pixels: int

    @property
    def flags(self) -> int:
        """The mode of `cv2.imdecode`; EXIF orientation is applied unless `unchanged`."""
        if self.unchanged:
            return cv2.IMREAD_UNCHANGED
        if self.bw:
            return cv2.IMREAD_GRAYSCALE
        return cv2.IMREAD_COLOR_RGB if self.rgb else cv2.IMREAD_COLOR_BGR


def unreadable(uri: str, reason: str = "") -> InputError:
    """The refusal of a datum that gives no image."""
    text = "Could not read image(s): image could not be read or does not exist: "
    named = uri[:200] if uri.strip() else "an empty text"
    return InputError(text + named + (f" ({reason})" if reason else ""))


def unbase64(text: str, uri: str) -> bytes:
    """The bytes of base64, also as a `data:` URI. Raises InputError for anything else."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise unreadable(uri, "a data URI must be in base64")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise unreadable(uri) from error


def decode(content: bytes, uri: str, decoding: Decoding) -> Array:
    """The pixels of one encoded image, H x W or H x W x C. Raises InputError with the uri."""
    header = read_header(content)
    if header is None:
        raise unreadable(uri)
    if header.frames > 1:
        raise unreadable(uri, "it has several frames")
    check_area(header.height, header.width, uri, decoding.max_pixels)
    if not header.complete:
        raise unreadable(uri, "it is truncated")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), decoding.flags)
    except cv2.error as error:
        raise unreadable(uri) from error
    if image is None:
        raise unreadable(uri)
    return _as_stored(image, decoding) if decoding.unchanged else image


def from_array(array: Array, uri: str, decoding: Decoding) -> Array:
    """The pixels of an array from Python: uint8, H x W, H x W x 3 RGB or H x W x 4 RGBA."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise unreadable(uri, "an array must be uint8, H x W, H x W x 3 RGB or H x W x 4 RGBA")
    if array.size == 0:
        raise unreadable(uri, "the array is empty")
    check_area(array.shape[0], array.shape[1], uri, decoding.max_pixels)
    array = np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)
    conversion = _CONVERSIONS.get((channels, _wanted(decoding)))
    return array if conversion is None else cv2.cvtColor(array, conversion)


def check_area(height: int, width: int, uri: str, max_pixels: int) -> None:
    """Raises InputError for an image of more pixels than the operator allows."""
    if height * width > max_pixels:
        limit = f"more than {max_pixels} pixels (DDSTREAM_MAX_PIXELS)"
        raise unreadable(uri, f"{width} x {height} is {limit}")


def _as_stored(image: Array, decoding: Decoding) -> Array:
    if image.dtype not in _MODEL_TYPES:
        image = image.astype(np.float32)
    if decoding.rgb and image.ndim == 3:
        code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
        image = cv2.cvtColor(image, code)
    return image


def _wanted(decoding: Decoding) -> str:
    if decoding.unchanged:
        return "stored rgb" if decoding.rgb else "stored bgr"
    if decoding.bw:
        return "grey"
    return "rgb" if decoding.rgb else "bgr"


_CONVERSIONS: Final = {
    (1, "rgb"): cv2.COLOR_GRAY2RGB,
    (1, "bgr"): cv2.COLOR_GRAY2BGR,
    (3, "bgr"): cv2.COLOR_RGB2BGR,
    (3, "stored bgr"): cv2.COLOR_RGB2BGR,
    (3, "grey"): cv2.COLOR_RGB2GRAY,
    (4, "rgb"): cv2.COLOR_RGBA2RGB,
    (4, "bgr"): cv2.COLOR_RGBA2BGR,
    (4, "stored bgr"): cv2.COLOR_RGBA2BGRA,
    (4, "grey"): cv2.COLOR_RGBA2GRAY,
}
