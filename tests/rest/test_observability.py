"""What a request leaves behind: ids, traces, refusals, lines in the log, and honest probes."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator, Sequence

import aiohttp
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY

from ddstream.logs import JsonLines, Mask
from ddstream.rest import probes as probes_module
from ddstream.rest.probes import probes
from ddstream.rest.server import Server
from ddstream.settings import Settings
from ddstream.telemetry.origin import origin
from ddstream.telemetry.spans import spans
from ddstream.version import __version__
from tests.rest.conftest import Http

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


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
def lines() -> Iterator[io.StringIO]:
    """The access log in JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(Mask(()), lambda: origin().fields()))
    access = logging.getLogger("ddstream.access")
    before = access.level
    access.setLevel(logging.INFO)
    access.addHandler(handler)
    yield stream
    access.removeHandler(handler)
    access.setLevel(before)


@pytest.mark.parametrize("name", ["X-Request-Id", "correlation_id"])
async def test_a_request_keeps_its_id_and_others_get_one(http: Http, name: str) -> None:
    assert (await http("GET", "/info", headers={name: "mine-1"})).headers[
        "X-Request-Id"
    ] == "mine-1"
    first = (await http("GET", "/nowhere")).headers["X-Request-Id"]
    second = (await http("GET", "/info", headers={name: "a b\u00e9"})).headers["X-Request-Id"]
    long = (await http("GET", "/info", headers={name: "x" * 129})).headers["X-Request-Id"]
    assert len({first, second, long}) == 3
    assert all(re.fullmatch("[0-9a-f]{24}", each) for each in (first, second, long))


async def test_without_spans_a_trace_is_only_what_the_client_sent(http: Http) -> None:
    assert "traceparent" not in (await http("GET", "/info")).headers
    assert "traceparent" not in (await http("GET", "/info", headers={"traceparent": "x"})).headers
    answer = await http("GET", "/info", headers={"traceparent": PARENT})
    assert answer.headers["traceparent"] == PARENT


async def test_with_spans_each_answer_names_its_trace(
    http: Http, told: InMemorySpanExporter
) -> None:
    new = (await http("GET", "/services/none")).headers["traceparent"]
    known = (await http("GET", "/info", headers={"traceparent": PARENT})).headers["traceparent"]
    first, second = told.get_finished_spans()
    assert (first.name, first.kind) == ("GET /services/{name}", SpanKind.SERVER)
    assert dict(first.attributes or {})["http.response.status_code"] == 404
    assert first.parent is None
    assert second.parent is not None
    assert f"{second.parent.span_id:016x}" == SPAN
    context = second.get_span_context()
    assert context is not None
    assert known == f"00-{TRACE}-{context.span_id:016x}-01"
    assert new.split("-")[1] != TRACE
    assert "traceparent" not in (await http("GET", "/livez")).headers
    assert len(told.get_finished_spans()) == 2


async def test_a_failed_request_is_a_failed_span(
    http: Http, letters: str, told: InMemorySpanExporter
) -> None:
    told.clear()
    assert (await http("POST", "/predict", {"service": letters, "data": ["crash"]})).status == 500
    (span,) = told.get_finished_spans()
    assert not span.status.is_ok
    assert span.status.description == "answered with 500"


async def test_the_access_log_tells_which_request_it_was(
    http: Http, letters: str, lines: io.StringIO
) -> None:
    headers = {"X-Request-Id": "mine-2", "traceparent": PARENT}
    await http("POST", "/predict", {"service": letters, "data": ["a"]}, headers=headers)
    await http("GET", "/metrics")
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert line["message"].startswith('HTTP/1.1 "POST /predict" letters 200 ')
    told = {name: line[name] for name in ("method", "path", "code", "service")}
    assert told == {"method": "POST", "path": "/predict", "code": 200, "service": "letters"}
    assert (line["correlation_id"], line["trace_id"]) == ("mine-2", TRACE)
    assert line["ms"] > 0


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("ddstream_http_refused_total", {"reason": reason}) or 0.0


async def test_refusals_are_counted_by_reason(http: Http, letters: str, settings: Settings) -> None:
    before = {reason: refused(reason) for reason in ("too_many", "too_large")}
    await http("POST", "/predict", {"service": letters, "data": ["busy"]})
    await http("POST", "/predict", b" " * (settings.max_request_bytes + 1))
    await http("POST", "/predict", b"no json")
    assert refused("too_many") == before["too_many"] + 1
    assert refused("too_large") == before["too_large"] + 1


class TestProbes:
    """The probes of a process whose health is asked for."""

    async def ask(self, server: Server, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(server.url + path) as answer:
            return answer.status, await answer.text()

    async def test_a_check_that_hangs_is_a_reason_and_life_goes_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(probes_module, "HEALTH_SECONDS", 0.1)

        async def hang() -> Sequence[str]:
            await asyncio.Event().wait()
            return ()

        async with Server(probes(hang), "127.0.0.1", 0) as server:
            status, text = await self.ask(server, "/readyz")
            assert (status, json.loads(text)["ready"]) == (503, False)
            assert "did not end in 0.1 s" in text
            assert (await self.ask(server, "/livez"))[0] == 200
            assert "\nddstream_ready 0.0" in (await self.ask(server, "/metrics"))[1]

    async def test_a_check_that_fails_is_a_reason(self, caplog: pytest.LogCaptureFixture) -> None:
        async def fail() -> Sequence[str]:
            raise RuntimeError("secret detail")

        async with Server(probes(fail), "127.0.0.1", 0) as server:
            status, text = await self.ask(server, "/readyz")
        assert (status, "RuntimeError" in text, "secret" in text) == (503, True, False)
        assert "secret detail" in caplog.text

    async def test_notes_are_told_and_no_reason(self) -> None:
        async def well() -> Sequence[str]:
            return ()

        async with Server(probes(well, lambda: ["alone"]), "127.0.0.1", 0) as server:
            status, text = await self.ask(server, "/readyz")
            assert (status, json.loads(text)) == (
                200,
                {"ready": True, "reasons": [], "notes": ["alone"]},
            )
            metrics = (await self.ask(server, "/metrics"))[1]
        assert "\nddstream_ready 1.0" in metrics
        assert f'\nddstream_info{{version="{__version__}"}} 1.0' in metrics
        assert "\nprocess_resident_memory_bytes " in metrics
