"""Where spans go: a real collector's address, the terminal, and a collector that is away."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ddstream.telemetry.spans import spans
from ddstream.telemetry.tracing import EXPORT_SECONDS, tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


class Collector(BaseHTTPRequestHandler):
    """Takes what an OTLP exporter posts."""

    got: list[tuple[str, ExportTraceServiceRequest]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            content = gzip.decompress(content)
        self.got.append((self.path, ExportTraceServiceRequest.FromString(content)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, ExportTraceServiceRequest]]]]:
    """The address of a collector, and what it got."""
    got: list[tuple[str, ExportTraceServiceRequest]] = []
    handler = type("Own", (Collector,), {"got": got})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_spans_go_to_a_collector(
    collector: tuple[str, list[tuple[str, ExportTraceServiceRequest]]], path: str
) -> None:
    url, got = collector
    with tracing(url + path, "1.2.3"):
        spans.begin("serve", PARENT, "server").end()
    assert not spans.on
    ((where, sent),) = got
    assert where == "/v1/traces"
    resource = sent.resource_spans[0].resource
    about = {each.key: each.value.string_value for each in resource.attributes}
    assert about["service.name"] == "ddstream"
    assert about["service.version"] == "1.2.3"
    span = sent.resource_spans[0].scope_spans[0].spans[0]
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("serve", TRACE, SPAN)


def test_spans_go_to_the_terminal_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with tracing("console", "1"):
        spans.begin("one", PARENT).end()
        spans.begin("two", PARENT).end()
    out, err = capsys.readouterr()
    assert out == ""
    told = [json.loads(line) for line in err.splitlines()]
    assert [span["name"] for span in told] == ["one", "two"]
    assert {span["context"]["trace_id"] for span in told} == {f"0x{TRACE}"}


def test_a_collector_that_is_silent_holds_up_the_end_for_seconds_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with tracing(f"http://127.0.0.1:{port}", "1"):
            for _ in range(1000):
                spans.begin("lost", PARENT).end()
            began = time.monotonic()
        took = time.monotonic() - began
    assert took < 10 * EXPORT_SECONDS


def test_a_collector_that_is_away_is_no_error_of_the_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    began = time.monotonic()
    with tracing(f"http://127.0.0.1:{port}", "1"):
        spans.begin("lost", PARENT).end()
    assert time.monotonic() - began < 10 * EXPORT_SECONDS
