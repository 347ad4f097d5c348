"""Palettes: the numbers of the colours in a PNG that numbers them, as masks of classes are kept."""

from __future__ import annotations

from struct import unpack_from
from typing import Final

import numpy as np

from ddstream.data import Array

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE: Final = 25
"""Where a PNG says how its pixels are kept (PNG specification, 11.2.2); 3 is by a palette."""


def palette(content: bytes) -> Array | None:
    """The colours of a PNG with a palette, K x 3 RGB; None for any other file."""
    if not content.startswith(_PNG) or content[_COLOUR_TYPE : _COLOUR_TYPE + 1] != b"\x03":
        return None
    at = len(_PNG)
    while at + 8 <= len(content):
        length, kind = unpack_from(">I4s", content, at)
        if kind == b"PLTE":
            colours = np.frombuffer(content, np.uint8, length, at + 8)
            return colours.reshape(-1, 3)
        # The length and the kind before a chunk, its checksum behind it.
        at += 12 + length
    return None


def numbers(image: Array, colours: Array) -> Array:
    """The number of each pixel's colour: uint8 H x W of an image H x W x 3 BGR.

    Of equal colours the first one counts.
    """
    codes, first = np.unique(_codes(colours), return_index=True)
    found: Array = first.astype(np.uint8)[np.searchsorted(codes, _codes(image[..., ::-1]))]
    return found


def _codes(rgb: Array) -> Array:
    """One number a colour."""
    codes: Array = rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return codes
