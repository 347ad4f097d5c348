"""An HTTP edge in front of the twin, a plain HTTP client, and a server that stands for a sink."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from ddstream.api.envelope import Json
from ddstream.engine.engine import Engine
from ddstream.outputs.sinks import LOOPBACK, Sinks
from ddstream.rest.app import app
from ddstream.rest.server import Server
from ddstream.settings import Settings
from tests.rest.dd_client import DD
from tests.rest.twin import TwinApi

SERVICE: Json = {
    "mllib": "torch",
    "description": "letters",
    "model": {"repository": "/models/letters"},
    "parameters": {"input": {"connector": "image"}, "mllib": {"nclasses": 2}, "output": {}},
}


@dataclass
class Reply:
    """A response that was read to its end."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.content)


@dataclass
class Http:
    """Plain HTTP calls to one server."""

    session: aiohttp.ClientSession
    url: str

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        """One exchange; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        data = None if content is None else io.BytesIO(content)
        target = self.url + path
        async with self.session.request(method, target, data=data, **options) as response:
            return Reply(response.status, response.headers, await response.read())


@dataclass
class Remote:
    """What a network sink was sent, and what it answers."""

    url: str = ""
    code: int = 202
    answer: bytes = b'{"indexed":true}'
    got: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """Keep a push: method, content type, content."""
        content = await request.read()
        self.got.append((request.method, request.headers["Content-Type"], content))
        headers = {"Content-Type": "application/json"}
        return web.Response(status=self.code, body=self.answer, headers=headers)


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    """A real HTTP server that takes pushes."""
    remote = Remote()
    application = web.Application()
    application.router.add_route("*", "/sink", remote.take)
    async with Server(application, "127.0.0.1", 0) as server:
        remote.url = f"{server.url}/sink"
        yield remote


@pytest.fixture
async def twin() -> AsyncIterator[TwinApi]:
    """An Api of this process."""
    async with Sinks.standard(LOOPBACK) as sinks:
        yield TwinApi(sinks)


@pytest.fixture
def settings() -> Settings:
    """Settings of the edge; a test may bring its own."""
    return Settings(max_request_bytes=1 << 20)


@pytest.fixture
async def server(twin: TwinApi, settings: Settings) -> AsyncIterator[Server]:
    """The edge, listening."""
    async with Server(app(twin, settings), "127.0.0.1", 0, drain=5.0) as server:
        yield server


@pytest.fixture
async def http(server: Server) -> AsyncIterator[Http]:
    """Plain calls to the edge."""
    plain = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(auto_decompress=False, headers=plain) as session:
        yield Http(session, server.url)


@pytest.fixture
async def letters(http: Http) -> str:
    """A service that exists."""
    assert (await http("PUT", "/services/letters", SERVICE)).status == 201
    return "letters"


@pytest.fixture
async def dd(tmp_path: Path) -> AsyncIterator[DD]:
    """The double of the reference's client, before a server with an engine of its own."""
    members: dict[str, Any] = {"roots": str(tmp_path)}
    settings = Settings(**members)
    async with (
        Engine(settings) as engine,
        Server(app(engine, settings), "127.0.0.1", 0) as server,
    ):
        yield DD("127.0.0.1", server.port)
