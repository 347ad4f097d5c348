"""The spans of a record between its taking and its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ddstream.errors import DDError
from ddstream.stream import messages
from ddstream.stream.predicting.partition import Slot
from ddstream.telemetry.origin import TRACEPARENT, origin_of
from ddstream.telemetry.spans import spans


def trace_taken(slot: Slot) -> None:
    """A record is taken: what becomes of it is told below a span of its own."""
    call = slot.call
    if not spans.on or call is None:
        return
    parent = origin_of(call.headers).traceparent
    topic = str(slot.record.topic)
    about = {"messaging.system": "kafka", "messaging.destination.name": topic}
    slot.span = spans.begin(
        f"process {topic}", parent, "consumer", source=messages.source(slot.record), **about
    )
    call.headers = {**call.headers, TRACEPARENT: slot.span.traceparent.encode()}


def trace_written(slots: Sequence[Slot], began: float, encoded: float) -> None:
    """The answers of records have just reached the broker."""
    if not spans.on:
        return
    ended = time.perf_counter()
    members = [_headers(slot) for slot in slots]
    spans.batch("encode", members, began, encoded)
    spans.batch("publish", members, encoded, ended)
    for slot in slots:
        if slot.span is not None:
            error = slot.answer.detail if isinstance(slot.answer, DDError) else ""
            slot.span.end(error=error, attempts=slot.attempts)
            slot.span = None


def about(slot: Slot, service: str) -> dict[str, str]:
    """Fields of a line in the log about a record."""
    told = origin_of(_headers(slot)).fields()
    return {"service": service, "source": messages.source(slot.record), **told}


def _headers(slot: Slot) -> Mapping[str, bytes]:
    return dict(slot.record.headers) if slot.call is None else slot.call.headers
