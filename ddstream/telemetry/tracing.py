"""Where spans go: to a collector, or to the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ddstream.telemetry.spans import spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

EXPORT_SECONDS = 3
"""How long a collector is waited for: one that is away must not hold up the end of a process."""


class TelemetryMissingError(Exception):
    """Spans are asked for, and the extra `telemetry` is not installed."""


@contextmanager
def tracing(target: str, version: str) -> Iterator[None]:
    """Send spans to `target` until the end of `with`: `console` (stderr), the URL of an OTLP/HTTP
    collector, or nowhere if it is empty. Raises TelemetryMissingError without the extra."""
    if not target:
        yield
        return
    provider = _provider(target, version)
    try:
        with spans.attached(provider.get_tracer("ddstream", version)):
            yield
    finally:
        provider.shutdown()


def _provider(target: str, version: str) -> TracerProvider:
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(target)
    except ImportError as error:
        raise TelemetryMissingError(
            "DDSTREAM_TRACES needs the extra: pip install 'ddstream[telemetry]'"
        ) from error
    about = Resource.create({"service.version": version})
    # Where the operator named it (OTEL_SERVICE_NAME), that name stays.
    if str(about.attributes["service.name"]).startswith("unknown_service"):
        about = about.merge(Resource({"service.name": "ddstream"}))
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter(target: str) -> SpanExporter:
    if target == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda s: s.to_json(None) + "\n")
    from urllib.parse import urlsplit

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    whole = urlsplit(target).path.strip("/") != ""
    return OTLPSpanExporter(
        target if whole else f"{target.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS
    )
