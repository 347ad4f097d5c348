"""One trace from a client over REST and Kafka to the forward pass, and ids all the way."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ddstream.api.envelope import Answer
from ddstream.api.service import ServiceDefinition
from ddstream.engine.engine import Engine
from ddstream.errors import InternalError
from ddstream.logs import JsonLines, Mask
from ddstream.rest.app import app
from ddstream.rest.server import Server
from ddstream.settings import Settings
from ddstream.telemetry.origin import origin
from ddstream.telemetry.spans import spans
from tests.kafka.echo import EchoHost
from tests.kafka.plane import ECHO, Plane, eventually, headers
from tests.kafka.test_processes import digits, png

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SENT = {"traceparent": PARENT, "X-Request-Id": "client-7"}


@pytest.fixture
def told() -> Iterator[InMemorySpanExporter]:
    """Everything that ends while a test runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with spans.attached(provider.get_tracer("test")):
        yield exporter
    provider.shutdown()


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose root is this test's folder, with time to load a model."""
    return settings.model_copy(update={"roots": (tmp_path,), "request_timeout": 120.0})


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def in_trace(told: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The spans of the client's trace by the first word of their name."""
    found: dict[str, ReadableSpan] = {}
    for span in told.get_finished_spans():
        context = span.get_span_context()
        if context is not None and f"{context.trace_id:032x}" == TRACE:
            found[span.name.split()[0]] = span
    return found


def parent(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def identity(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.span_id:016x}"


@pytest.mark.timeout(240)
async def test_one_trace_leads_from_rest_over_kafka_to_the_forward_pass(
    plane: Plane,
    settings: Settings,
    session: aiohttp.ClientSession,
    told: InMemorySpanExporter,
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine(settings))
        worker = await plane.worker(engine)
        stack.push_async_callback(plane.drain, worker)
        bridge = await plane.bridge()
        server = await stack.enter_async_context(Server(app(bridge, settings), "127.0.0.1", 0))
        await bridge.create_service("x", digits(tmp_path))
        told.clear()
        request = {"service": "x", "data": [base64.b64encode(png()).decode()]}
        url = f"{server.url}/predict"
        async with session.post(url, json=request, headers=SENT) as answer:
            assert answer.status == 200, await answer.text()
            returned = answer.headers["traceparent"]
        stages = {"decode", "queue", "forward", "encode", "publish"}
        await eventually(lambda: {"POST", "send", "process", *stages} <= in_trace(told).keys())
    trace = in_trace(told)
    assert parent(trace["POST"]) == SPAN
    assert returned == f"00-{TRACE}-{identity(trace['POST'])}-01"
    assert parent(trace["send"]) == identity(trace["POST"])
    assert parent(trace["process"]) == identity(trace["send"])
    for stage in stages:
        assert parent(trace[stage]) == identity(trace["process"]), stage
    times = [trace[name].start_time or 0 for name in ("POST", "send", "process", "forward")]
    assert times == sorted(times)


async def test_each_record_has_its_own_trace_and_its_answer_carries_it(
    plane: Plane, told: InMemorySpanExporter
) -> None:
    await plane.worker(EchoHost())
    bridge = await plane.bridge()
    await bridge.create_service("x", ECHO)
    sent = [f"00-{n:032x}-{SPAN}-01".encode() for n in (1, 2, 3)]
    for each in sent:
        await plane.send("x", b'{"data": ["a"]}', {"traceparent": each}, partition=0)
    results = await plane.results("x", 3)
    assert [headers(result)["traceparent"] for result in results] == sent

    def processed() -> list[ReadableSpan]:
        topic = plane.topics.predict("x")
        return [span for span in told.get_finished_spans() if span.name == f"process {topic}"]

    await eventually(lambda: len(processed()) == 3)
    assert {parent(span) for span in processed()} == {SPAN}


async def test_a_record_that_cannot_be_read_is_seen_in_its_trace_too(
    plane: Plane, told: InMemorySpanExporter
) -> None:
    await plane.worker(EchoHost())
    bridge = await plane.bridge()
    await bridge.create_service("x", ECHO)
    await plane.send("x", b"no json", {"traceparent": PARENT.encode()})
    await eventually(lambda: {"encode", "publish"} <= in_trace(told).keys())


async def test_without_spans_ids_go_through_all_the_same(
    plane: Plane, settings: Settings, session: aiohttp.ClientSession
) -> None:
    await plane.worker(EchoHost())
    bridge = await plane.bridge()
    await bridge.create_service("x", ECHO)
    async with Server(app(bridge, settings), "127.0.0.1", 0) as server:
        for _ in range(2):
            request = {"service": "x", "data": ["a"]}
            async with session.post(f"{server.url}/predict", json=request, headers=SENT) as answer:
                assert answer.status == 200
                assert answer.headers["traceparent"] == PARENT
                assert answer.headers["X-Request-Id"] == "client-7"
    first, second = map(headers, await plane.read(plane.topics.predict("x"), 2))
    assert first["traceparent"] == second["traceparent"] == PARENT.encode()
    assert first["correlation_id"] != second["correlation_id"]
    for record in (first, second):
        assert record["correlation_id"].startswith(b"client-7-")


@pytest.fixture
def lines() -> Iterator[Callable[[], list[Any]]]:
    """What ddstream logs while a test runs, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(Mask(()), lambda: origin().fields()))
    log = logging.getLogger("ddstream")
    log.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.removeHandler(handler)


class Crashing(EchoHost):
    """Has a bug in its creation."""

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        raise ZeroDivisionError("a bug")


async def test_a_command_is_logged_with_the_id_of_its_request(
    plane: Plane,
    settings: Settings,
    session: aiohttp.ClientSession,
    lines: Callable[[], list[Any]],
) -> None:
    await plane.worker(Crashing())
    bridge = await plane.bridge()
    async with Server(app(bridge, settings), "127.0.0.1", 0) as server:
        request = {"mllib": "echo", "model": {}, "parameters": {}}
        url = f"{server.url}/services/x"
        async with session.put(url, json=request, headers=SENT) as answer:
            assert answer.status == 500
    (line,) = [line for line in lines() if "a control command failed" in line["message"]]
    assert line["correlation_id"].startswith("client-7-")
    assert line["trace_id"] == TRACE
    assert "ZeroDivisionError: a bug" in line["exception"]


async def test_a_record_that_failed_inside_is_logged_with_its_ids(
    plane: Plane, lines: Callable[[], list[Any]]
) -> None:
    await plane.worker(EchoHost(lambda call: call.done(InternalError("broken (error 12ab)"))))
    bridge = await plane.bridge()
    await bridge.create_service("x", ECHO)
    sent = {"correlation_id": b"mine", "traceparent": PARENT.encode()}
    partition, offset = await plane.send("x", b'{"data": ["a"]}', sent)
    await plane.results("x", 1)

    def told() -> list[Any]:
        return [line for line in lines() if "was answered with an error" in line["message"]]

    await eventually(lambda: len(told()) == 1)
    (line,) = told()
    assert "error 12ab" in line["message"]
    about = (line["service"], line["correlation_id"], line["trace_id"], line["source"])
    source = f"{plane.topics.predict('x')}/{partition}/{offset}"
    assert about == ("x", "mine", TRACE, source)
