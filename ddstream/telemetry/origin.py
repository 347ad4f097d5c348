"""Where work comes from: the correlation id and the W3C trace context that it came with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

TRACEPARENT, CORRELATION = "traceparent", "correlation_id"

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a piece of work came with; both are empty where it came with nothing."""

    correlation_id: str = ""
    traceparent: str = ""

    @property
    def trace_id(self) -> str:
        """The trace's id in 32 hexadecimal digits."""
        return self.traceparent[3:35]

    def headers(self) -> dict[str, bytes]:
        """The same as a record's headers."""
        told = ((CORRELATION, self.correlation_id), (TRACEPARENT, self.traceparent))
        return {name: value.encode() for name, value in told if value}

    def fields(self) -> dict[str, str]:
        """The same as fields of a line in the log."""
        told = (("correlation_id", self.correlation_id), ("trace_id", self.trace_id))
        return {name: value for name, value in told if value}


_ORIGIN: ContextVar[Origin] = ContextVar("origin")
_NOWHERE = Origin()


def origin() -> Origin:
    """Where the work of this task comes from; threads of an executor do not know it."""
    return _ORIGIN.get(_NOWHERE)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """What this task does, and tasks that it starts, comes from there."""
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


def origin_of(headers: Mapping[str, bytes]) -> Origin:
    """The origin that a record's headers tell; what is malformed in them is left out."""
    correlation = headers.get(CORRELATION, b"").decode("ascii", "replace")
    return Origin(correlation, valid(headers.get(TRACEPARENT, b"").decode("ascii", "replace")))


def valid(traceparent: str) -> str:
    """The header's value if it is a W3C trace context, else nothing: then a trace begins anew."""
    match = _FORM.match(traceparent)
    if match is None:
        return ""
    # Only versions after 00 may bring more fields.
    rest = traceparent[match.end() :]
    good = not rest or (rest.startswith("-") and not traceparent.startswith("00"))
    return traceparent if good else ""
