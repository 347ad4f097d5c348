"""The spans of a forward pass."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ddstream.engine.work import Item
from ddstream.telemetry.spans import spans


def trace_pass(items: Sequence[Item], began: float) -> None:
    """A pass of these samples has just ended: tell of it, and of their wait before it."""
    ended = time.perf_counter()
    first = {item.work: item for item in reversed(items)}
    for work, item in first.items():
        spans.record("queue", work.call.headers, item.since, began)
    members = [work.call.headers for work in first]
    spans.batch("forward", members, began, ended, samples=len(items))
