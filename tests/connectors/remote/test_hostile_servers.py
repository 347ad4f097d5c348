"""Hostile servers and images: left in time, and bounded."""

from __future__ import annotations

import struct
import zlib

import pytest

from tests.connectors.remote.hostile_ground import (
    refusal,
    serving,
)
from tests.connectors.remote.hostile_servers import SERVERS, png


@pytest.mark.parametrize("name", SERVERS)
async def test_a_hostile_server_is_left_in_time(name: str) -> None:
    async with serving(SERVERS[name]) as port:
        text = await refusal(f"http://127.0.0.1:{port}/", allow=("127.0.0.1",), seconds=1.0)
    assert "127.0.0.1" in text


@pytest.mark.parametrize(
    "content",
    [
        png(60_000, 60_000, zlib.compress(bytes(1 << 20))),
        png(1000, 1001, zlib.compress(bytes(1001 * 1001))),
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00",
        b"BM" + bytes(16) + struct.pack("<ii", 2**31 - 1, -(2**31)) + bytes(30),
    ],
)
async def test_pixel_bombs_are_refused_from_their_header(content: bytes) -> None:
    await refusal(content)
