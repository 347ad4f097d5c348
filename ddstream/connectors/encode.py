"""Data in memory become JSON, so that they can travel to a server."""

from __future__ import annotations

from typing import Any

import cv2
import pybase64

from ddstream.api.envelope import Json, dumps
from ddstream.api.predict import PredictRequest
from ddstream.connectors.remote.fetch import TEXT_URI
from ddstream.data import Array

_TO_BGR = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}


def encode_png(pixels: Array) -> bytes:
    """The PNG of a uint8 array: H x W, H x W x 3 (RGB) or H x W x 4 (RGBA).

    Raises TypeError for any other array.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != "uint8" or not pixels.size or pixels.ndim not in (2, 3):
        raise TypeError(f"no image: {pixels.dtype} of shape {pixels.shape}")
    if pixels.ndim == 3:
        if channels not in _TO_BGR:
            raise TypeError(f"an image has 3 or 4 channels, not {channels}")
        pixels = cv2.cvtColor(pixels, _TO_BGR[channels])
    _, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return content.tobytes()


def request_body(request: PredictRequest) -> bytes:
    """The documented JSON of a request, bytes and arrays as base64, for an edge that travels.

    Bytes that are a text say so: the text itself might be taken for a path.
    """
    members: Json = request.model_dump(by_alias=True, exclude_unset=True)
    return dumps({**members, "data": [_element(element) for element in request.data]})


def _element(element: Any) -> str:
    if isinstance(element, str):
        return element
    content = element if isinstance(element, bytes) else encode_png(element)
    packed = pybase64.b64encode(content).decode("ascii")
    return TEXT_URI + packed if _is_text(content) else packed


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in content
