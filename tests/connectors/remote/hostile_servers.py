"""Servers that are slow, endless, lying or huge."""

from __future__ import annotations

import asyncio
import gzip
import struct
import zlib

from tests.connectors.remote.hostile_ground import (
    PNG,
    Serve,
    response,
    saying,
)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Headers that never end, a few bytes at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: a\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that comes a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Nothing at all, until the client goes."""
    await reader.read()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(1 << 16))
        await writer.drain()


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Headers without an end, at full speed."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: " + b"a" * 4000 + b"\r\n")
        await writer.drain()


async def continuing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Interim responses without an end."""
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A grey PNG that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BOMB = gzip.compress(bytes(64 << 20))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SERVERS: dict[str, Serve] = {
    "drip": drip,
    "dripping body": dripping_body,
    "silent": silent,
    "endless": endless,
    "endless headers": endless_headers,
    "continuing": continuing,
    "gone": saying(),
    "short": saying(response(PNG[:50], Content_Length=str(len(PNG)))),
    "negative": saying(response(Content_Length="-1")),
    "huge": saying(response(Content_Length="9" * 30)),
    "two lengths": saying(response().replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1)),
    "no http": saying(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "garbage": saying(bytes(range(256)) * 64),
    "huge chunk": saying(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\na"
    ),
    "no chunk": saying(CHUNKED + b"zz\r\n"),
    "gzip bomb": saying(response(BOMB, Content_Encoding="gzip")),
    "deflate bomb": saying(response(zlib.compress(bytes(64 << 20)), Content_Encoding="deflate")),
    "no gzip": saying(response(PNG, Content_Encoding="gzip")),
    "half gzip": saying(response(gzip.compress(PNG)[:100], Content_Encoding="gzip")),
    "pixel bomb": saying(response(png(60_000, 60_000, zlib.compress(bytes(1 << 20))))),
    "wide bomb": saying(response(png(2**31 - 1, 1, zlib.compress(b"a")))),
    "empty image": saying(response(png(0, 0, b""))),
    "half image": saying(response(PNG[: len(PNG) // 2])),
    "empty": saying(response(b"")),
    "missing": saying(response(PNG, "404 Not Found")),
    "partial": saying(response(PNG, "206 Partial Content")),
    "upgrade": saying(response(b"", "101 Switching Protocols", Upgrade="h2c")),
    "nowhere": saying(response(b"", "302 Found")),
}
