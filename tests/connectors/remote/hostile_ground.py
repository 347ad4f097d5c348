"""What the tests of hostile data stand on: raw servers, a resolver, and a predict call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from ddstream.connectors.images.connector import ImageConnector
from ddstream.connectors.protocol import Limits
from ddstream.connectors.remote.fetch import Fetcher
from ddstream.data import Datum, Sample
from ddstream.errors import DDError
from ddstream.repository import Repository
from ddstream.roots import ANYWHERE, Roots
from tests.connectors.images.pictures import encoded, photo

PNG = encoded(photo())
SECONDS = 20.0
"""In which each refusal must have come, on a slow machine too."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@dataclass
class Canary:
    """A server that answers with an image, and counts who calls."""

    port: int = 0
    hits: int = 0


@asynccontextmanager
async def serving(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A raw TCP server; gives its port."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def response(body: bytes = PNG, status: str = "200 OK", **headers: str) -> bytes:
    """The bytes of an HTTP response."""
    told = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def saying(*parts: bytes) -> Serve:
    """A server that reads a request and says what it was given."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()

    return serve


class Zone(AbstractResolver):
    """A resolver of this test's own: it knows a few names, and answers a name's turns in order."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        turns = self.names.get(host)
        if turns is None:
            raise OSError(f"no such name: {host}")
        address = turns.pop(0) if len(turns) > 1 else turns[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        found: ResolveResult = {
            "hostname": host,
            "host": address,
            "port": port,
            "family": kind,
            "proto": 0,
            "flags": socket.AI_NUMERICHOST,
        }
        return [found]

    async def close(self) -> None:
        """Nothing is held."""


def read(datum: Datum, roots: Roots) -> list[Sample]:
    """The samples of a datum, by a connector that may read below `roots`."""
    limits = Limits(roots=roots, max_pixels=1_000_000)
    raw = {"width": -1, "height": -1}
    return list(ImageConnector(raw, Repository(Path()), limits).read(datum))


async def predicted(
    element: object, roots: Roots = ANYWHERE, *, seconds: float = 5.0, **options: Any
) -> list[Sample]:
    """What a predict call does with an element: fetch it, then read it."""
    async with Fetcher(roots, timeout=seconds, max_bytes=1 << 20, **options) as fetcher:
        datum = await fetcher.fetch(element, 0, timeout=-1)
        return await asyncio.to_thread(read, datum, roots)


async def refusal(element: object, roots: Roots = ANYWHERE, **options: Any) -> str:
    """The text with which an element is refused, in time and with a code of the API."""
    with pytest.raises(DDError) as caught:
        async with asyncio.timeout(SECONDS):
            await predicted(element, roots, **options)
    assert caught.value.dd_code in (1005, 1006)
    assert caught.value.detail
    assert len(caught.value.text()) < 1000
    return caught.value.text()
