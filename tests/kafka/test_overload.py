"""A bridge at its own limit: 429 with Retry-After, and it goes on when there is room again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from ddstream.api.predict import Call
from ddstream.rest.app import app
from ddstream.rest.server import Server
from ddstream.settings import Settings
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from tests.kafka.echo import EchoHost, echo
from tests.kafka.plane import ECHO, Plane, eventually


class Held:
    """Keeps calls until they may be answered."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> None:
        self.calls.append(call)

    def release(self) -> None:
        """Answer all that were kept."""
        calls, self.calls = self.calls, []
        for call in calls:
            echo(call)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_in_flight": 3, "max_in_flight_bytes": 1 << 20})


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def asking(*data: str) -> dict[str, Any]:
    return {"service": "x", "data": list(data)}


async def test_a_bridge_refuses_more_than_it_may_wait_for(
    plane: Plane, session: aiohttp.ClientSession
) -> None:
    held = Held()
    await plane.worker(EchoHost(held))
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    async with Server(app(api, plane.settings), "127.0.0.1", 0) as server:
        url = f"{server.url}/predict"

        async def code(*data: str) -> int:
            async with session.post(url, json=asking(*data)) as answer:
                await answer.read()
                return answer.status

        waiting = [asyncio.create_task(code(f"{n}")) for n in range(3)]
        await eventually(lambda: len(held.calls) == 3)
        async with session.post(url, json=asking("more")) as refused:
            assert refused.status == 429
            assert int(refused.headers["Retry-After"]) >= 1
            assert (await refused.json())["status"]["msg"] == "Too Many Requests"
        async with session.get(f"{server.url}/services/x") as answer:
            assert answer.status == 200
        held.release()
        assert await asyncio.gather(*waiting) == [200, 200, 200]
        # The bytes have a limit too; one call may be over it, the next one waits.
        large = asyncio.create_task(code("a" * 600_000, "b" * 400_000))
        await eventually(lambda: len(held.calls) == 1)
        second = asyncio.create_task(code("a" * 60_000))
        await eventually(lambda: len(held.calls) == 2)
        assert await code("c") == 429
        held.release()
        assert (await large, await second) == (200, 200)


async def test_requests_that_wait_for_the_broker_are_bounded_too(
    session: aiohttp.ClientSession,
) -> None:
    settings = Settings(bootstrap="127.0.0.1:1", max_in_flight=2, request_timeout=3)
    async with (
        KafkaApi(Connection(settings)) as api,
        Server(app(api, settings), "127.0.0.1", 0) as server,
    ):

        async def code() -> int:
            async with session.post(f"{server.url}/predict", json=asking("a")) as answer:
                return answer.status

        codes = await asyncio.gather(*(code() for _ in range(6)))
    assert sorted(codes) == [429, 429, 429, 429, 504, 504]
