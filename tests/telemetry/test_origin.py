"""Origins: which trace contexts are taken, and what a task and a record tell of theirs."""

from __future__ import annotations

import asyncio

import pytest

from ddstream.telemetry.origin import Origin, coming_from, origin, origin_of, valid

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "text", [GOOD, f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-what-later"]
)
def test_trace_contexts_of_the_standard_are_taken(text: str) -> None:
    assert valid(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01.later",
    ],
)
def test_what_is_no_trace_context_is_left_out(text: str) -> None:
    assert valid(text) == ""


def test_a_records_headers_tell_its_origin() -> None:
    told = origin_of({"correlation_id": b"c", "traceparent": GOOD.encode(), "other": b"\xff"})
    assert told == Origin("c", GOOD)
    assert told.trace_id == TRACE
    assert told.headers() == {"correlation_id": b"c", "traceparent": GOOD.encode()}
    assert told.fields() == {"correlation_id": "c", "trace_id": TRACE}
    assert origin_of({"traceparent": b"\xff\xfe"}) == Origin()
    assert Origin().headers() == {}
    assert Origin().fields() == {}


async def test_a_task_and_those_it_starts_know_where_they_come_from() -> None:
    async def ask() -> Origin:
        return origin()

    with coming_from(Origin("c")):
        started = asyncio.create_task(ask())
    assert await started == Origin("c")
    assert origin() == Origin()
