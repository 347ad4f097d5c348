"""Packing: a sample as bytes for a disk, and back.

A head of JSON says what is where; the bytes of the arrays follow. Pixels (uint8 and uint16 of 1, 3
or 4 channels) are PNG, which gives back every value; other arrays are as they are in memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
import orjson

from ddstream.data import Array, Sample
from ddstream.errors import InputError

_HEAD: Final = struct.Struct("<I")
_FAST: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1)
"""Larger compression takes several times as long for a few percent."""
_FEWEST_PIXELS: Final = 64
_ARRAY, _TUPLE, _OBJECT = "array", "tuple", "object"
"""Names of what JSON has not got: a list of one of them and its content stands for it."""


def packed(sample: Sample) -> bytes:
    """A sample without what is done to its pixels. Raises TypeError for what cannot be kept."""
    blobs: list[bytes] = []
    members = [sample.uri, dict(sample.inputs), sample.target, sample.meta]
    head = orjson.dumps([_plain(member, blobs) for member in members])
    return b"".join((_HEAD.pack(len(head)), head, *blobs))


def unpacked(content: bytes) -> Sample:
    """The inverse of `packed`. Raises InputError for anything else."""
    try:
        (size,) = _HEAD.unpack_from(content)
        body = memoryview(content)[_HEAD.size :]
        uri, inputs, target, meta = (
            _whole(member, body[size:]) for member in orjson.loads(body[:size])
        )
    except (ValueError, TypeError, KeyError, IndexError, struct.error, cv2.error) as error:
        raise InputError("a kept sample cannot be read: the file is damaged") from error
    return Sample(uri, inputs, target, meta=meta)


def _plain(value: Any, blobs: list[bytes]) -> Any:
    """A value in JSON; its arrays go to the blobs."""
    if isinstance(value, np.ndarray):
        return [_ARRAY, _blob(value, blobs)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [_TUPLE, [_plain(each, blobs) for each in value]]
    if isinstance(value, Mapping):
        return [_OBJECT, {name: _plain(each, blobs) for name, each in value.items()}]
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no word for these.
        return [_ARRAY, _blob(np.array(value), blobs)]
    return value


def _blob(array: Array, blobs: list[bytes]) -> list[Any]:
    pixels = _as_pixels(array)
    blob = np.ascontiguousarray(array).tobytes() if pixels is None else pixels
    begin = sum(map(len, blobs))
    blobs.append(blob)
    return [begin, len(blob), array.dtype.str, array.shape, pixels is not None]


def _as_pixels(array: Array) -> bytes | None:
    """The array as PNG; None if it is no image, or so small that PNG would only add to it."""
    image = array.dtype in (np.uint8, np.uint16) and (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    )
    if not image or array.size < _FEWEST_PIXELS:
        return None
    done, found = cv2.imencode(".png", array, _FAST)
    return found.tobytes() if done else None


def _whole(value: Any, blobs: memoryview) -> Any:
    if not isinstance(value, list):
        return value
    what, content = value
    if what == _ARRAY:
        return _array(content, blobs)
    if what == _TUPLE:
        return tuple(_whole(each, blobs) for each in content)
    return {name: _whole(each, blobs) for name, each in content.items()}


def _array(content: list[Any], blobs: memoryview) -> Array | float:
    begin, length, dtype, shape, pixels = content
    blob = blobs[begin : begin + length]
    if pixels:
        image = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise ValueError("no PNG")
        return image.reshape(shape)
    # A copy: who reads a sample may change it.
    array = np.frombuffer(blob, np.dtype(dtype)).reshape(shape).copy()
    return array if array.ndim else float(array)
