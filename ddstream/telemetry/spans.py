"""Spans of OpenTelemetry: what became of a request, and how long each stage of it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from ddstream.telemetry.origin import origin_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, Tracer
    from opentelemetry.trace import Span as OtelSpan

MOST_LINKS = 128
"""Links that one span of a batch has at most; the SDK keeps no more."""

Kind = Literal["internal", "server", "producer", "consumer"]
Attributes: TypeAlias = Mapping[str, str | int | float]


class Span:
    """A span that runs. `traceparent` is the context of what it causes."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, traceparent: str, span: OtelSpan | None = None) -> None:
        self.traceparent = traceparent
        self._span = span

    def end(self, *, error: str = "", **attributes: str | int | float) -> None:
        """It is over; `error` says why it failed."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attributes(attributes)
            if error:
                self._span.set_status(StatusCode.ERROR, error)
            self._span.end()


class Spans:
    """Makes spans once a tracer is attached. Like a logger, it is declared once and is silent
    until a process decides otherwise. Times are readings of `time.perf_counter`.
    """

    def __init__(self) -> None:
        self._tracer: Tracer | None = None

    @property
    def on(self) -> bool:
        """Whether anybody takes spans; ask before work that only spans need."""
        return self._tracer is not None

    @contextmanager
    def attached(self, tracer: Tracer) -> Iterator[None]:
        """Spans go to `tracer` until the end of `with`."""
        before, self._tracer = self._tracer, tracer
        try:
            yield
        finally:
            self._tracer = before

    def begin(
        self, name: str, parent: str, kind: Kind = "internal", **attributes: str | int | float
    ) -> Span:
        """Start a span below `parent`, a traceparent; an empty one begins a trace."""
        if self._tracer is None:
            return Span(parent)
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            name, _context(parent), SpanKind[kind.upper()], attributes=attributes
        )
        return Span(_traceparent(span), span)

    def record(
        self,
        name: str,
        headers: Mapping[str, bytes],
        start: float,
        end: float,
        **attributes: str | int | float,
    ) -> None:
        """A span that is over, below the one that a record's headers name; without one, none."""
        if self._tracer is not None and (parent := origin_of(headers).traceparent):
            self._put(name, parent, (start, end), attributes)

    def batch(
        self,
        name: str,
        members: Sequence[Mapping[str, bytes]],
        start: float,
        end: float,
        **attributes: str | int | float,
    ) -> None:
        """Work that many records shared: a span of each, linked to one of the batch, which is
        linked to all of them."""
        if self._tracer is None:
            return
        parents = [parent for each in members if (parent := origin_of(each).traceparent)]
        links: list[Link] = []
        attributes = {**attributes, "batch": len(members)}
        if len(parents) > 1:
            links = self._whole(f"{name} batch", parents, (start, end), attributes)
        for parent in parents:
            self._put(name, parent, (start, end), attributes, links)

    def _whole(
        self, name: str, parents: Sequence[str], times: tuple[float, float], attributes: Attributes
    ) -> list[Link]:
        """Put the span of a batch, in a trace of its own; a link to it."""
        from opentelemetry.trace import Link

        kept = [context for parent in parents if (context := _parent(parent)).trace_flags.sampled]
        if not kept:
            return []
        links = [Link(context) for context in kept[:MOST_LINKS]]
        return [Link(self._put(name, "", times, attributes, links).get_span_context())]

    def _put(
        self,
        name: str,
        parent: str,
        times: tuple[float, float],
        attributes: Attributes,
        links: Sequence[Link] = (),
    ) -> OtelSpan:
        assert self._tracer is not None
        offset = time.time() - time.perf_counter()
        start, end = (int((reading + offset) * 1e9) for reading in times)
        span = self._tracer.start_span(
            name, _context(parent), links=links, attributes=attributes, start_time=start
        )
        span.end(end)
        return span


spans = Spans()
"""Where the whole process puts its spans."""


def _context(traceparent: str) -> Context:
    """The SDK's context of a traceparent; of an empty one the root, whatever this task is in."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    if not traceparent:
        return Context()
    return set_span_in_context(NonRecordingSpan(_parent(traceparent)), Context())


def _parent(traceparent: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace, span, flags = traceparent.split("-")[:4]
    return SpanContext(int(trace, 16), int(span, 16), True, TraceFlags(int(flags, 16)))


def _traceparent(span: OtelSpan) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
