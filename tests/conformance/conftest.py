"""The Apis that must behave alike: the same checks run on each of them.

Another one is a function that opens it and a line in `APIS`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from ddstream.api.protocol import Api
from ddstream.engine.engine import Engine
from ddstream.rest.app import app
from ddstream.rest.client import HttpApi
from ddstream.rest.server import Server
from ddstream.settings import Settings
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from ddstream.stream.worker import Worker
from tests.conformance.calls import Desk
from tests.digits import write_digits

Opened: TypeAlias = AbstractAsyncContextManager[Api]


@asynccontextmanager
async def engine(settings: Settings) -> AsyncIterator[Api]:
    """The engine of this process."""
    async with Engine(settings) as engine:
        yield engine


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Api]:
    """An engine behind HTTP, without a broker."""
    async with (
        Engine(settings) as engine,
        Server(app(engine, settings), "127.0.0.1", 0) as server,
        HttpApi(server.url) as client,
    ):
        yield client


@asynccontextmanager
async def kafka(settings: Settings) -> AsyncIterator[KafkaApi]:
    """A worker behind topics, asked over Kafka."""
    connection = Connection(settings)
    async with Engine(settings) as engine, KafkaApi(connection) as api:
        worker = Worker(engine, connection)
        running = asyncio.create_task(worker.run())
        await api.ready()
        try:
            yield api
        finally:
            worker.stop()
            await running


@asynccontextmanager
async def bridge(settings: Settings) -> AsyncIterator[Api]:
    """The same, asked over HTTP through a bridge."""
    async with (
        kafka(settings) as api,
        Server(app(api, settings), "127.0.0.1", 0) as server,
        HttpApi(server.url) as client,
    ):
        yield client


def on_broker(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The settings for a corner of its own on the session's broker, started outside the loop."""
    members = {"prefix": f"c{secrets.token_hex(4)}", "partitions": 3}
    return settings.model_copy(update={"bootstrap": request.getfixturevalue("kafka"), **members})


APIS: Mapping[str, Callable[[pytest.FixtureRequest, Settings], Opened]] = {
    "engine": lambda request, settings: engine(settings),
    "serve": lambda request, settings: serve(settings),
    "kafka": lambda request, settings: kafka(on_broker(request, settings)),
    "bridge": lambda request, settings: bridge(on_broker(request, settings)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data and repositories lie: the only root."""
    path = tmp_path_factory.mktemp("conformance")
    write_digits(path, train=8, test=2)
    return path


@pytest.fixture(scope="module", params=APIS)
def opened(request: pytest.FixtureRequest, folder: Path) -> Opened:
    """An Api that is not open yet: what it needs (a broker) starts outside the event loop."""
    members: dict[str, Any] = {"roots": str(folder), "max_batch": 8}
    return APIS[request.param](request, Settings(**members))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(opened: Opened) -> AsyncIterator[Api]:
    """One Api for the tests of a module: they take services of their own."""
    async with opened as api:
        yield api


@pytest.fixture
def desk(api: Api, folder: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    """Requests about a service that is this test's alone."""
    return Desk(api, folder, name=f"digits-{tmp_path.name}".lower())
