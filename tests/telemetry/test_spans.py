"""Spans on the SDK itself: their parents, times and links; and nothing at all without them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from ddstream.telemetry.origin import valid
from ddstream.telemetry.spans import MOST_LINKS, Spans, spans

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


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Trace, span and parent in hex."""
    context = span.get_span_context()
    assert context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    return f"{context.trace_id:032x}", f"{context.span_id:016x}", parent


def headers(number: int, flags: str = "01") -> dict[str, bytes]:
    """A record of trace `number`."""
    return {"traceparent": f"00-{number:032x}-{number:016x}-{flags}".encode()}


def test_nobody_listens_and_a_trace_context_is_passed_on_as_it_came() -> None:
    silent = Spans()
    assert not silent.on
    span = silent.begin("a", PARENT)
    assert span.traceparent == PARENT
    span.end(error="no matter")
    silent.record("b", headers(1), 0.0, 1.0)
    silent.batch("c", [headers(1), headers(2)], 0.0, 1.0)
    assert silent.begin("d", "").traceparent == ""


def test_a_span_stands_below_its_parent_and_names_what_follows(told: InMemorySpanExporter) -> None:
    span = spans.begin("serve", PARENT, "server", path="/x")
    below = spans.begin("send", span.traceparent, "producer")
    below.end()
    span.end(error="it failed", code=500)
    child, parent = told.get_finished_spans()
    assert ids(parent)[0] == ids(child)[0] == TRACE
    assert ids(parent)[2] == SPAN
    assert ids(child)[2] == ids(parent)[1] == span.traceparent.split("-")[2]
    assert (parent.kind, child.kind) == (SpanKind.SERVER, SpanKind.PRODUCER)
    assert dict(parent.attributes or {}) == {"path": "/x", "code": 500}
    assert not parent.status.is_ok
    assert child.status.is_unset


def test_without_a_parent_a_trace_begins(told: InMemorySpanExporter) -> None:
    span = spans.begin("serve", "")
    assert valid(span.traceparent)
    span.end()
    assert told.get_finished_spans()[0].parent is None


def test_readings_of_the_clock_become_times_of_the_day(told: InMemorySpanExporter) -> None:
    now, wall = time.perf_counter(), time.time()
    spans.record("decode", headers(7), now - 2.0, now - 0.5, bytes=3)
    (span,) = told.get_finished_spans()
    assert span.start_time is not None
    assert span.end_time is not None
    assert abs(span.start_time / 1e9 - (wall - 2.0)) < 0.5
    assert abs((span.end_time - span.start_time) / 1e9 - 1.5) < 1e-3
    assert ids(span)[0] == f"{7:032x}"
    spans.record("decode", {}, now - 2.0, now)
    assert len(told.get_finished_spans()) == 1


def test_a_batch_has_a_span_of_each_record_and_one_of_its_own_linked_both_ways(
    told: InMemorySpanExporter,
) -> None:
    members = [headers(1), {}, headers(2), headers(3, "00")]
    spans.batch("forward", members, 1.0, 2.0, samples=9)
    whole, first, second = told.get_finished_spans()
    assert whole.name == "forward batch"
    assert whole.parent is None
    assert [link.context.trace_id for link in whole.links] == [1, 2]
    assert [ids(span)[0] for span in (first, second)] == [f"{1:032x}", f"{2:032x}"]
    for span in (first, second):
        assert [f"{link.context.span_id:016x}" for link in span.links] == [ids(whole)[1]]
        assert dict(span.attributes or {}) == {"samples": 9, "batch": 4}


def test_a_batch_of_one_needs_no_span_of_its_own(told: InMemorySpanExporter) -> None:
    spans.batch("forward", [headers(1), {}], 1.0, 2.0)
    spans.batch("forward", [{}], 1.0, 2.0)
    spans.batch("forward", [headers(1, "00"), headers(2, "00")], 1.0, 2.0)
    (only,) = told.get_finished_spans()
    assert (only.name, len(only.links)) == ("forward", 0)


def test_a_huge_batch_keeps_what_the_sdk_keeps_of_links(told: InMemorySpanExporter) -> None:
    spans.batch("forward", [headers(n + 1) for n in range(MOST_LINKS + 50)], 1.0, 2.0)
    finished = told.get_finished_spans()
    assert len(finished) == MOST_LINKS + 51
    assert len(finished[0].links) == MOST_LINKS


BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from ddstream.telemetry.spans import spans
from ddstream.telemetry.tracing import TelemetryMissingError, tracing
spans.record("a", {"traceparent": b"00-%s-%s-01" % (b"1" * 32, b"2" * 16)}, 0.0, 1.0)
spans.begin("b", "").end()
with tracing("", "1"):
    pass
try:
    with tracing("console", "1"):
        pass
except TelemetryMissingError as error:
    print(error)
"""


def test_without_the_extra_nothing_is_missing_until_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pip install 'ddstream[telemetry]'" in done.stdout
