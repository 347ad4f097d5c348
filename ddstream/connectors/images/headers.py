"""What the first bytes of an image file tell: its size, its frames, whether it is all there.

Reading it costs microseconds, so that a decoder never sees an image that is too large, has several
frames or is cut off. The layouts are those of the formats' specifications.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from struct import unpack_from

_JPEG_SIZES = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
_JPEG_SCAN = 0xFFDA
_TIFF_PAGES = 16
"""Pages looked at: enough to see past thumbnails, few enough for a chain that is a circle."""
_PNM_GAP = rb"\s(?:\s|#[^\n]*\n)*"
_PNM = re.compile(rb"P[1-6]" + _PNM_GAP + rb"(\d{1,9})" + _PNM_GAP + rb"(\d{1,9})\s")
_AVIF_EXTENT = re.compile(rb"ispe.{4}(.{4})(.{4})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Size in pixels as stored (before any rotation), frames counted up to 2."""

    width: int
    height: int
    frames: int = 1
    complete: bool = True
    """False where the file certainly ends too early; the decoder may still find it broken."""


def read_header(content: bytes) -> ImageHeader | None:
    """The header of an encoded image; None for bytes that are no image of a known format."""
    reader = _avif if content[4:8] == b"ftyp" else _READERS.get(content[:2])
    try:
        header = reader(content) if reader else None
    except (struct.error, IndexError, ValueError, OverflowError):
        return None
    return header if header and header.width > 0 and header.height > 0 else None


def _jpeg(content: bytes) -> ImageHeader | None:
    height = width = 0
    marker, at = 0, 2
    while marker != _JPEG_SCAN:
        marker, length = unpack_from(">HH", content, at)
        if marker < 0xFF01:
            return None
        if marker in _JPEG_SIZES:
            height, width = unpack_from(">HH", content, at + 5)
        # Any number of 0xFF may stand before a marker.
        at += 1 if marker == 0xFFFF else 2 + length
    # A thumbnail has an end marker too, but before the scan; inside one 0xFF is escaped.
    return ImageHeader(width, height, complete=content.rfind(b"\xff\xd9", at) >= 0)


def _png(content: bytes) -> ImageHeader | None:
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    width, height = unpack_from(">II", content, 16)
    frames, at, kind = 1, 8, b""
    while kind != b"IDAT":
        length, kind = unpack_from(">I4s", content, at)
        if kind == b"acTL":
            (frames,) = unpack_from(">I", content, at + 8)
        at += 12 + length
    end = content.rfind(b"IEND")
    return ImageHeader(width, height, min(2, frames), complete=0 < end <= len(content) - 8)


def _gif(content: bytes) -> ImageHeader | None:
    if not content.startswith((b"GIF87a", b"GIF89a")):
        return None
    width, height = unpack_from("<HH", content, 6)
    frames = 0
    try:
        for left, top, wide, high in _gif_frames(content):
            width, height = max(width, left + wide), max(height, top + high)
            frames += 1
            if frames == 2:
                break
    except (struct.error, IndexError):
        return ImageHeader(width, height, max(1, frames), complete=False)
    return ImageHeader(width, height, frames) if frames else None


def _gif_frames(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, width and height of each frame."""
    at = 13 + _gif_palette(content[10])
    while (block := content[at]) != 0x3B:
        if block == 0x2C:
            yield unpack_from("<HHHH", content, at + 1)
            at += 11 + _gif_palette(content[at + 9])
        elif block == 0x21:
            at += 2
        else:
            raise IndexError(at)
        while content[at]:
            at += 1 + content[at]
        at += 1


def _gif_palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _bmp(content: bytes) -> ImageHeader | None:
    (size,) = unpack_from("<I", content, 14)
    width, height = unpack_from("<HH" if size == 12 else "<ii", content, 18)
    # A negative height means that rows are stored from the top.
    return ImageHeader(width, abs(height))


def _webp(content: bytes) -> ImageHeader | None:
    if content[8:12] != b"WEBP":
        return None
    length, _, kind = unpack_from("<I4s4s", content, 4)
    complete = len(content) >= length + 8
    if kind == b"VP8 ":
        width, height = unpack_from("<HH", content, 26)
        return ImageHeader(width & 0x3FFF, height & 0x3FFF, complete=complete)
    if kind == b"VP8L":
        (bits,) = unpack_from("<I", content, 21)
        return ImageHeader((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, complete=complete)
    if kind != b"VP8X":
        return None
    width = int.from_bytes(content[24:27], "little") + 1
    height = int.from_bytes(content[27:30], "little") + 1
    return ImageHeader(width, height, _webp_frames(content), complete)


def _webp_frames(content: bytes) -> int:
    frames, at = 0, 12
    while at + 8 <= len(content) and frames < 2:
        kind, length = unpack_from("<4sI", content, at)
        frames += kind == b"ANMF"
        at += 8 + length + length % 2
    return max(1, frames)


@dataclass(frozen=True, slots=True)
class _TiffLayout:
    """Where things are in a directory of a TIFF, or of a BigTIFF with its wider numbers."""

    start: int
    offset: str
    count: str
    entry: int
    value: int


_TIFF = _TiffLayout(start=4, offset="I", count="H", entry=12, value=8)
_BIG_TIFF = _TiffLayout(start=8, offset="Q", count="Q", entry=20, value=12)


def _tiff(content: bytes) -> ImageHeader | None:
    order = "<" if content[:2] == b"II" else ">"
    (version,) = unpack_from(f"{order}H", content, 2)
    layout = {42: _TIFF, 43: _BIG_TIFF}.get(version)
    if layout is None:
        return None
    (at,) = unpack_from(order + layout.offset, content, layout.start)
    tags, at = _tiff_page(content, at, order, layout)
    frames, width, height = 1, tags.get(256, 0), tags.get(257, 0)
    for _ in range(_TIFF_PAGES):
        if not at or frames == 2:
            break
        tags, at = _tiff_page(content, at, order, layout)
        # Bit 0 of tag 254 marks a reduced version of another page.
        frames += not tags.get(254, 0) & 1
    return ImageHeader(width, height, frames)


def _tiff_page(
    content: bytes, at: int, order: str, layout: _TiffLayout
) -> tuple[dict[int, int], int]:
    """The integer tags of the page at `at`, and where the next one is; 0 at the end."""
    (count,) = unpack_from(order + layout.count, content, at)
    at += struct.calcsize(order + layout.count)
    tags = {}
    for entry in range(at, at + min(count, 4096) * layout.entry, layout.entry):
        tag, kind = unpack_from(f"{order}HH", content, entry)
        if tag in (254, 256, 257) and kind in (3, 4):
            (tags[tag],) = unpack_from(
                order + ("H" if kind == 3 else "I"), content, entry + layout.value
            )
    (following,) = unpack_from(order + layout.offset, content, at + count * layout.entry)
    return tags, following


def _pnm(content: bytes) -> ImageHeader | None:
    match = _PNM.match(content, 0, 4096)
    return ImageHeader(int(match[1]), int(match[2])) if match else None


def _jpeg2000(content: bytes) -> ImageHeader | None:
    # The codestream's own size, not that of the box around it: it is what the decoder allocates.
    at = content.index(b"\xff\x4f\xff\x51") + 8
    right, bottom, left, top = unpack_from(">IIII", content, at)
    return ImageHeader(right - left, bottom - top)


def _avif(content: bytes) -> ImageHeader | None:
    if content[8:12] not in (b"avif", b"avis"):
        return None
    meta = content[: max(content.find(b"mdat"), 0) or None]
    extents = [
        (int.from_bytes(width), int.from_bytes(height))
        for width, height in _AVIF_EXTENT.findall(meta)
    ]
    width, height = max(extents, key=lambda extent: extent[0] * extent[1])
    return ImageHeader(width, height, frames=2 if content[8:12] == b"avis" else 1)


_READERS: Mapping[bytes, Callable[[bytes], ImageHeader | None]] = {
    b"\xff\xd8": _jpeg,
    b"\x89P": _png,
    b"GI": _gif,
    b"BM": _bmp,
    b"RI": _webp,
    b"II": _tiff,
    b"MM": _tiff,
    b"\x00\x00": _jpeg2000,
    b"\xff\x4f": _jpeg2000,
    **{b"P%d" % number: _pnm for number in range(1, 7)},
}
