"""Schools: the faces of the API that lessons are given over.

The quick form teaches over REST; with `--full` each lesson is also given inside this process. Those
marked `over_kafka` are always given over a worker behind topics too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ddstream.api.protocol import Api
from ddstream.client import Client
from ddstream.deepdetect import DeepDetect
from ddstream.engine.engine import Engine
from ddstream.face.face import Face
from ddstream.settings import Settings
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from ddstream.stream.worker import Worker
from tests.learning.learner import School
from tests.serving import Serving


@pytest.fixture
def full(pytestconfig: pytest.Config) -> bool:
    """The long form was asked for."""
    return bool(pytestconfig.getoption("--full"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "school" in metafunc.fixturenames:
        edges = ["rest"]
        edges += ["python"] if metafunc.config.getoption("--full") else []
        edges += ["kafka"] if metafunc.definition.get_closest_marker("over_kafka") else []
        metafunc.parametrize("school", edges, indirect=True)


@pytest.fixture
def school(request: pytest.FixtureRequest, tmp_path: Path, full: bool) -> Iterator[School]:
    """A school over one edge; paths below the test's own folder may be read."""
    edge = str(request.param)
    with ExitStack() as stack:
        if edge == "python":
            face: Face = stack.enter_context(DeepDetect(Settings(roots=str(tmp_path))))
        elif edge == "rest":
            server = stack.enter_context(Serving(Settings(roots=str(tmp_path))))
            face = stack.enter_context(Client(server.url))
        else:
            settings = Settings(
                bootstrap=request.getfixturevalue("kafka"),
                prefix=f"l{secrets.token_hex(4)}",
                partitions=3,
                roots=str(tmp_path),
            )
            face = stack.enter_context(Face(lambda: _worker(settings)))
        yield School(face, tmp_path, edge, full)


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[Api]:
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
