"""The Apis that must behave alike: the same checks run on each of them.

Another one is a function that opens it and a line in `APIS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from ddstream.api.protocol import Api
from ddstream.engine import Engine
from ddstream.rest.app import app
from ddstream.rest.client import HttpApi
from ddstream.rest.server import Server
from ddstream.settings import Settings
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


APIS: Mapping[str, Callable[[pytest.FixtureRequest, Settings], Opened]] = {
    "engine": lambda request, settings: engine(settings),
    "serve": lambda request, settings: serve(settings),
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
