"""The HTTP edge under requests that are slow, endless, lying or huge: bounded, and answered."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import orjson
import pytest

from ddstream.rest.server import Server
from ddstream.settings import Settings
from tests.kafka.plane import eventually
from tests.rest.conftest import Http
from tests.rest.test_edge import raw, status
from tests.rest.twin import TwinApi

POST = b"POST /predict HTTP/1.1\r\nHost: x\r\n"


class Trickle:
    """A connection that sends what a test says and is read to its end."""

    def __init__(self, server: Server) -> None:
        self._port = server.port

    async def __call__(self, *parts: bytes, end: bool = False) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            if end:
                writer.write_eof()
            async with asyncio.timeout(30):
                return await reader.read()
        finally:
            writer.close()


class TestOfTheSlow:
    """The edge that waits a fifth of a second."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(read_timeout=0.2)

    @pytest.mark.parametrize("sent", [b"", b"P", b"POST /predict HTTP/1.1\r\nHost: x\r\nX: "])
    async def test_who_sends_no_whole_headers_is_cut_off(
        self, server: Server, http: Http, sent: bytes
    ) -> None:
        assert await Trickle(server)(sent) == b""
        assert (await http("GET", "/livez")).status == 200

    async def test_an_idle_connection_is_closed(self, server: Server) -> None:
        answer = await Trickle(server)(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")

    @pytest.mark.parametrize(
        "sent",
        [
            b"Content-Length: 100\r\n\r\n{",
            b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
            b"Content-Length: 10\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
        ],
    )
    async def test_a_body_that_does_not_come_is_answered_408(
        self, server: Server, sent: bytes
    ) -> None:
        answer = await Trickle(server)(POST + sent, end=False)
        head, _, content = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408")
        assert b"Connection: close" in head
        assert orjson.loads(content)["status"]["code"] == 408


async def test_a_body_that_is_shorter_than_it_says_ends_the_call(
    server: Server, http: Http
) -> None:
    answer = await Trickle(server)(POST + b"Content-Length: 100\r\n\r\n{}", end=True)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert (await http("GET", "/livez")).status == 200


async def test_a_body_that_is_longer_than_it_says_is_no_second_request(server: Server) -> None:
    smuggled = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await raw(
        server, POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}" + smuggled
    )
    assert answer.count(b'"status"') == 1


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: 99999999999999999999999999\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
async def test_lengths_that_can_be_read_in_two_ways_are_refused(
    server: Server, lines: bytes
) -> None:
    answer = await raw(server, POST + lines + b"Connection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.0 4")
    assert answer.count(b'"status"') == 1


@pytest.mark.parametrize(
    "bomb",
    [
        b"".join(b"X-%d: a\r\n" % number for number in range(5000)),
        b"X: " + b"a" * 100_000 + b"\r\n",
        b"X" * 100_000 + b": a\r\n",
        b"Cookie: " + b"a=b; " * 50_000 + b"\r\n",
        b"X: a\r\n" + b" folded\r\n" * 20_000,
    ],
)
async def test_too_many_or_too_long_headers_are_refused(
    server: Server, http: Http, bomb: bytes
) -> None:
    answer = await raw(server, b"GET /info HTTP/1.1\r\nHost: x\r\n" + bomb + b"\r\n")
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert (await http("GET", "/livez")).status == 200


async def test_a_chunked_body_over_the_limit_is_refused_before_its_end(
    http: Http, settings: Settings
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1 << 16
            yield b" " * (1 << 16)

    async with http.session.post(f"{http.url}/predict", data=endless()) as answer:
        assert answer.status == 413
    assert sent < 64 << 20
    assert settings.max_request_bytes == 1 << 20


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_a_body_packed_twice_or_falsely_is_refused(
    http: Http, letters: str, pack: object
) -> None:
    assert callable(pack)
    body = b'{"service": "letters", "data": ["a"]}'
    coding = "gzip" if pack is gzip.compress else "deflate"
    headers = {"Content-Encoding": coding}
    for broken in (
        pack(pack(body)),
        pack(body)[: len(body) // 2],
        pack(body)[:5],
        b"",
        b"\x1f\x8b\x08",
    ):
        assert status(await http("POST", "/predict", broken, headers=headers))[0] == 400
    for unknown in ("br", "zstd", "compress", "x", "gzip, gzip"):
        refused = await http("POST", "/predict", pack(body), headers={"Content-Encoding": unknown})
        assert refused.status == 400


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")],
)
@pytest.mark.parametrize("depth", [70, 1000, 10_000, 300_000])
@pytest.mark.parametrize("place", ["predict", "train", "services/x"])
async def test_deep_json_is_a_bad_request(
    http: Http, place: str, before: bytes, after: bytes, depth: int
) -> None:
    depth = min(depth, (1 << 20) // len(before + after) - 100)
    deep = b'{"service": "letters", "parameters": {"mllib": '
    body = deep + before * depth + b"1" + after * depth + b"}}"
    assert status(await http("POST", f"/{place}", body))[:2] == (400, 400)


@pytest.mark.parametrize("depth", [65, 500, 8000])
async def test_deep_queries_are_a_bad_request(http: Http, depth: int) -> None:
    for path in ("/train", "/services/x"):
        answer = await http("DELETE", f"{path}?{'a.' * depth}b=1")
        assert status(answer)[:2] == (400, 400)


@pytest.mark.parametrize(
    "number", [b"1" * 100_000, b"1e999999", b"-0", b"9" * 400, b"1." + b"0" * 9]
)
async def test_numbers_of_any_length_are_read_or_refused(http: Http, number: bytes) -> None:
    body = b'{"service": "letters", "data": ["a"], "parameters": {"output": {"best": %b}}}' % number
    assert (await http("POST", "/predict", body)).status in (400, 404)


class TestWithLittleRoom:
    """The edge whose bodies share a megabyte."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(max_request_bytes=1 << 20, max_in_flight_bytes=1 << 20)

    async def test_bodies_that_are_being_read_share_a_limit(
        self, server: Server, http: Http, letters: str, twin: TwinApi
    ) -> None:
        """Two bodies that stand still, together over the limit: one of them is told to wait."""
        size = 700_000
        start = POST + b"Content-Length: %d\r\n\r\n" % (size + 100) + b" " * size
        pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for _, writer in pairs:
            writer.write(start)
        reading = [asyncio.ensure_future(reader.readuntil(b"\r\n")) for reader, _ in pairs]
        done, waiting = await asyncio.wait(reading, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().split()[1] for task in done] == [b"429"]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _, writer in pairs:
            writer.close()
            await writer.wait_closed()
        small = {"service": letters, "data": ["a"]}

        async def room() -> bool:
            return (await http("POST", "/predict", small)).status == 200

        await eventually(room)
        assert twin.seen
