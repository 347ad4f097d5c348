"""What an engine holds: calls, the bytes that were sent and fetched, images between two stages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ddstream.api.envelope import Answer
from ddstream.api.predict import Call
from ddstream.engine import pipeline, predictor
from ddstream.engine.engine import Engine
from ddstream.errors import DDError, InputError, TooLarge, TooManyRequests
from ddstream.settings import Settings
from tests.engine.probe import ProbeBackend
from tests.engine.services import definition, in_flight, png, request, until

KIB = 1 << 10


@asynccontextmanager
async def engine_of(folder: Path, **limits: int) -> AsyncIterator[Engine]:
    settings = Settings(
        roots=(folder, Path("/proc/self")),
        decode_threads=2,
        fetch_allow=("127.0.0.1",),
        **limits,  # type: ignore[arg-type]
    )
    ProbeBackend.go.set()
    try:
        async with asyncio.timeout(120), Engine(settings) as engine:
            await engine.create_service("p", definition(folder))
            yield engine
            ProbeBackend.go.set()
    finally:
        ProbeBackend.go.set()


@dataclass
class Pictures:
    """A real HTTP server with pictures of `size` bytes; says what was asked of it."""

    engine: Engine
    size: int = 100 * KIB
    held: list[int] = field(default_factory=list)
    url: str = ""

    async def give(self, _: web.Request) -> web.Response:
        self.held.append(self.engine.capacity().nbytes)
        # Decoders read no further than the end of the image.
        return web.Response(body=png(1).ljust(self.size, b"\0"))


@asynccontextmanager
async def pictures(engine: Engine) -> AsyncIterator[Pictures]:
    there = Pictures(engine)
    application = web.Application()
    application.router.add_get("/{name}", there.give)
    async with TestServer(application, host="127.0.0.1") as server:
        there.url = f"http://127.0.0.1:{server.port}/"
        yield there


async def test_an_engine_that_is_full_of_bytes_says_429(tmp_path: Path) -> None:
    async with engine_of(tmp_path, max_in_flight_bytes=1000) as engine:
        ProbeBackend.go.clear()
        content = png(1).ljust(600, b"\0")
        calls = [asyncio.create_task(engine.predict(request("p", content))) for _ in range(2)]
        await in_flight(engine, 2)
        assert engine.capacity().nbytes == 1200
        with pytest.raises(TooManyRequests):
            await engine.predict(request("p", png(1)))
        ProbeBackend.go.set()
        await asyncio.gather(*calls)
        assert (engine.capacity().calls, engine.capacity().nbytes) == (0, 0)
        await engine.predict(request("p", png(1)))


async def test_arrays_count_by_what_they_hold(tmp_path: Path) -> None:
    async with engine_of(tmp_path) as engine:
        ProbeBackend.go.clear()
        call = asyncio.create_task(engine.predict(request("p", np.zeros((8, 8, 3), np.uint8))))
        await in_flight(engine, 1)
        assert engine.capacity().nbytes == 192
        ProbeBackend.go.set()
        await call


async def test_what_was_fetched_counts_until_it_is_answered(tmp_path: Path) -> None:
    async with (
        engine_of(tmp_path, max_in_flight_bytes=150 * KIB) as engine,
        pictures(engine) as there,
    ):
        ProbeBackend.go.clear()
        urls = [there.url + name for name in "ab"]
        call = asyncio.create_task(engine.predict(request("p", *urls[:1])))
        await until(lambda: engine.capacity().nbytes == there.size + len(urls[0]))
        second = asyncio.create_task(engine.predict(request("p", *urls[1:])))
        await until(lambda: engine.capacity().full)
        with pytest.raises(TooManyRequests):
            await engine.predict(request("p", png(1)))
        ProbeBackend.go.set()
        await asyncio.gather(call, second)
        assert (engine.capacity().calls, engine.capacity().nbytes) == (0, 0)


async def test_a_crowd_of_urls_never_fetches_more_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "FETCHES", 2)
    most = 250 * KIB
    async with engine_of(tmp_path, max_in_flight_bytes=most) as engine, pictures(engine) as there:
        ProbeBackend.go.clear()
        data = [[there.url + str(n)] * (1 + n % 2) for n in range(20)]
        calls = [asyncio.create_task(engine.predict(request("p", *urls))) for urls in data]
        await until(lambda: engine.capacity().nbytes >= most)
        ProbeBackend.go.set()
        answers = await asyncio.gather(*calls)
        assert [len(a.body["predictions"]) for a in answers] == [len(urls) for urls in data]
        # Full when the last fetches began; then one call that had begun went on to its end.
        assert max(there.held) <= most + 2 * there.size
        assert engine.capacity().nbytes == 0


async def test_a_call_that_fills_the_engine_alone_is_413(tmp_path: Path) -> None:
    async with (
        engine_of(tmp_path, max_in_flight_bytes=250 * KIB) as engine,
        pictures(engine) as there,
    ):
        with pytest.raises(TooLarge, match="DDSTREAM_MAX_IN_FLIGHT_BYTES"):
            await engine.predict(request("p", *(there.url + str(n) for n in range(4))))
        assert (engine.capacity().calls, engine.capacity().nbytes) == (0, 0)
        await engine.predict(request("p", there.url + "again"))


async def test_images_that_wait_for_their_model_stay_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "LARGE", 1 << 20)
    image, most = 512 * 512 * 3, 2 << 20
    async with engine_of(tmp_path, max_in_flight_bytes=most) as engine:
        ProbeBackend.go.clear()
        large = {"width": 512, "height": 512}
        held: list[int] = []
        lines = engine._predictor._pipeline
        calls = [
            asyncio.create_task(engine.predict(request("p", *([png(n)] * 9), input=large)))
            for n in range(20)
        ]
        await until(lambda: lines.held >= most)
        ProbeBackend.go.set()
        while not all(call.done() for call in calls):
            held.append(lines.held)
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
        # Two reading jobs may have been under way, each of 1 MiB and the image that went over it.
        assert max(held) <= most + 2 * ((1 << 20) + image)
        assert lines.held == 0


async def test_a_disk_that_fails_may_be_asked_again_a_file_that_is_missing_not(
    tmp_path: Path,
) -> None:
    # Reading one's own memory from its start is what Linux answers with EIO.
    async with engine_of(tmp_path) as engine:
        with pytest.raises(InputError) as failed:
            await engine.predict(request("p", "/proc/self/mem"))
        assert failed.value.severity == "transient"
        (tmp_path / "locked.png").mkdir()
        for name in ("missing.png", "locked.png"):
            with pytest.raises(DDError) as failing:
                await engine.predict(request("p", str(tmp_path / name)))
            assert failing.value.severity == "permanent"


async def test_a_sink_that_is_down_may_be_asked_again(tmp_path: Path) -> None:
    async def answer(asked: web.Request) -> web.Response:
        return web.Response(status=int(asked.match_info["code"]), text="said the sink")

    application = web.Application()
    application.router.add_post("/{code}", answer)
    async with (
        TestServer(application, host="127.0.0.1") as server,
        Engine(Settings(roots=(tmp_path,), sink_allow=("127.0.0.1",))) as engine,
    ):
        ProbeBackend.go.set()
        await engine.create_service("p", definition(tmp_path))
        told: list[Answer | DDError] = []
        for code in (503, 429, 404, 202):
            url = f"http://127.0.0.1:{server.port}/{code}"
            asked = request("p", png(1), output={"network": {"url": url}})
            engine.submit([Call("p", asked.data, told.append, asked.parameters)])
            await until(lambda: engine.capacity().calls == 0)
            # Who calls directly gets what the sink says; nobody tries again for him.
            assert (await engine.predict(asked)).for_caller()[:2] == (code, b"said the sink")
        severities = [r.severity if isinstance(r, DDError) else r.for_caller()[0] for r in told]
        assert severities == ["transient", "transient", 404, 202]
        assert isinstance(told[0], DDError)
        assert told[0].status()["dd_code"] == 1009
        assert told[0].detail == "HTTP status 503: said the sink"
