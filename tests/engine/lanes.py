"""A lane with a small model, and what comes out of it."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddstream.api.envelope import Answer
from ddstream.api.predict import Call
from ddstream.backends.protocol import Failure
from ddstream.data import Batch, Outputs, Sample
from ddstream.engine.lane import Lane
from ddstream.engine.meters import Meters
from ddstream.engine.work import Item, Work
from ddstream.errors import DDError, ParameterError


@dataclass
class Summing:
    """A model that sums pixels; it waits for `go`. A 13 fails and so does a 14, a 15 breaks the
    device, and more than `room` samples run out of memory."""

    go: threading.Event = field(default_factory=threading.Event)
    room: int = 1 << 30
    sizes: list[int] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    def forward(self, batch: Batch, call: Any) -> Outputs:
        self.begun.set()
        self.go.wait(30)
        self.sizes.append(len(batch))
        x = batch.inputs["x"]
        if len(batch) > self.room:
            raise MemoryError("no room")
        if (x == 15).any():
            raise RuntimeError("CUDA error: an illegal memory access\nadvice")
        if (x == 13).any():
            raise RuntimeError("unlucky")
        if (x == 14).any():
            raise ParameterError("fourteen")
        return {"output": x.sum(axis=1)}

    def failure(self, error: Exception) -> Failure:
        if isinstance(error, MemoryError):
            return "memory"
        return "broken" if "CUDA error" in str(error) else "sample"

    def close(self) -> None:
        self.closed = True


@dataclass
class Plan:
    """The members of a plan that a lane reads."""

    backend: Summing
    parameters: None = None
    group: Hashable = 0
    measures: tuple[str, ...] = ()


class Finished:
    """Collects what a lane has finished; each item once."""

    def __init__(self, count: int) -> None:
        self.found: dict[str, Any] = {}
        self._left = threading.Semaphore(0)
        self._count = count

    def __call__(self, items: Sequence[Item], outputs: Outputs | DDError) -> None:
        for row, item in enumerate(items):
            value = outputs if isinstance(outputs, DDError) else outputs["output"][row]
            assert item.sample.uri not in self.found
            self.found[item.sample.uri] = value
            self._left.release()

    def wait(self) -> dict[str, Any]:
        for _ in range(self._count):
            assert self._left.acquire(timeout=30)
        return self.found


@contextmanager
def lane(finished: Finished, most: int = 8, seconds: float = 60.0) -> Iterator[Lane]:
    """A lane that is closed at the end."""
    meters = Meters("lane")
    running = Lane(meters, most, seconds, finished)
    yield running
    running.close()
    meters.forget()


def nobody(result: Answer | DDError) -> None:
    """Nobody waits."""


def item(plan: Any, uri: str, values: Sequence[int], deadline: float | None = None) -> Item:
    """One sample of a call of its own."""
    work = Work(Call("s", ["x"], nobody, deadline=deadline), plan, Meters("lane"))
    return Item(work, 0, Sample(uri, {"x": np.array(values)}))


def items(model: Summing, values: Sequence[int]) -> list[Item]:
    """A sample of each value, named by it."""
    return [item(Plan(model), str(value), [value]) for value in values]
