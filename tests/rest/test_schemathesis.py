"""Requests made from the OpenAPI description, fit and unfit: no fault of ours, no answer that the
description does not have, by an engine and by a bridge in front of a broker."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ddstream.api.envelope import Answer, Json
from ddstream.api.parameters import envelope
from ddstream.api.predict import Call
from ddstream.api.service import ServiceDefinition
from ddstream.engine.engine import Engine
from ddstream.rest.app import app
from ddstream.rest.openapi import describe
from ddstream.rest.server import Server
from ddstream.settings import Settings
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from ddstream.stream.worker import Worker
from tests.digits import write_digits
from tests.kafka.echo import EchoHost
from tests.kafka.plane import ECHO
from tests.rest.test_openapi_engine import definition

EXAMPLES = 50
"""Requests of each operation and kind."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(describe())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]
TWICE = {"POST /services/{name}", "PUT /train", "PUT /predict"}
Operation: TypeAlias = schemathesis.APIOperation[Any, Any, Any, Any]
KNOWN = "known"
"""A service that exists."""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.slow,
    # The servers run in this process, on threads of their own: it is they who use `random`.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]


@contextmanager
def in_a_thread(serve: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """A server on a loop of its own, for tests that wait for each answer."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving = serve()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(120)

    async def leave() -> None:
        await serving.__aexit__(None, None, None)

    try:
        yield run(serving.__aenter__())
        run(leave())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an engine with one service."""
    folder = tmp_path_factory.mktemp("serve")
    write_digits(folder, train=2, test=1)

    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        members: dict[str, Any] = {"roots": str(folder), "fetch_timeout": 2, "decode_threads": 2}
        own = Settings(**members)
        async with Engine(own) as engine, Server(app(engine, own), "127.0.0.1", 0) as server:
            body = definition(folder / "model", {"nclasses": 10})
            await engine.create_service(KNOWN, envelope(ServiceDefinition, body))
            yield server.url

    with in_a_thread(serve) as url:
        yield url


def classified(call: Call) -> None:
    """An answer as engines give it."""
    head = {"method": "/predict", "time": 1.0, "service": call.service}
    found = [{"uri": str(n), "loss": 0.0, "classes": []} for n in range(len(call.data))]
    call.done(Answer(200, head, {"predictions": found}))


class DescribedEcho(EchoHost):
    """It describes a service as engines do."""

    def describe(self, name: str) -> Json:
        return {
            "name": name,
            "description": "",
            "mllib": "echo",
            "mltype": "classification",
            "type": "supervised",
            "parameters": {"input": {}},
            "repository": "",
            "model_stats": {"params": 1},
            "stats": {"params": 1},
            "labels": [],
        }


@pytest.fixture(scope="module")
def bridge(kafka: str) -> Iterator[str]:
    """Address of a bridge in front of a worker that echoes."""
    own = Settings(
        bootstrap=kafka, prefix=f"t{secrets.token_hex(4)}", partitions=2, request_timeout=30
    )

    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        worker = Worker(DescribedEcho(classified), Connection(own))
        running = asyncio.create_task(worker.run())
        async with (
            KafkaApi(Connection(own)) as api,
            Server(app(api, own), "127.0.0.1", 0) as server,
        ):
            await api.ready()
            await api.create_service(KNOWN, ECHO)
            yield server.url
        worker.stop()
        await running

    with in_a_thread(serve) as url:
        yield url


def towards_the_known(case: schemathesis.Case[Any]) -> None:
    """Aim a request at the service that exists, where it names one."""
    if "name" in (case.path_parameters or {}) and case.method not in ("DELETE", "PUT", "POST"):
        case.path_parameters["name"] = KNOWN
    if isinstance(case.query, dict) and "service" in case.query:
        case.query["service"] = KNOWN
    if isinstance(case.body, dict) and "service" in case.body:
        case.body["service"] = KNOWN


def hold(operation: Operation, mode: GenerationMode, url: str) -> None:
    """Fail for a request that is answered as it may not be, or not at all."""
    with requests.Session() as session:

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode), known=strategies.booleans())
        def every_request(case: schemathesis.Case[Any], known: bool) -> None:
            if known:
                towards_the_known(case)
            answer = case.call(base_url=url, session=session, timeout=40)
            case.validate_response(answer, checks=CHECKS)

        every_request()


EACH = pytest.mark.parametrize(
    ("operation", "mode"),
    [
        pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
        for operation in OPERATIONS
        for mode in GenerationMode
        # The other name of a written route is the same route; and what takes nothing cannot be
        # asked for wrongly.
        if operation.label not in TWICE
        and (mode is GenerationMode.POSITIVE or list(operation.iter_parameters()) or operation.body)
    ],
)


@EACH
def test_an_engine_answers_as_its_description_says(
    engine: str, operation: Operation, mode: GenerationMode
) -> None:
    hold(operation, mode, engine)


@EACH
def test_a_bridge_answers_as_its_description_says(
    bridge: str, operation: Operation, mode: GenerationMode
) -> None:
    hold(operation, mode, bridge)
