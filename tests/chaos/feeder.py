"""The producer of a chaos run: it sends each record until the broker has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from ddstream.settings import Settings
from ddstream.stream.connection import TRANSIENT, started, stopped
from tests.chaos.model import GOOD, encode

KEYS = 101
"""Keys of the records; all records of a key are in one partition."""
CHUNK = 500
TURNS = 20
"""How often a second a flood writes."""
PATIENCE_MS = 120_000
"""How long a record waits in the producer: longer than a broker is ever away in a run."""

KindOf = Callable[[int], int]


def always_good(number: int) -> int:
    """Every record is one that can be answered."""
    return GOOD


class Feeder:
    """Writes numbered records on one topic."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.topic = topic
        self.sent = 0
        """Records that the broker has; their ids are 0 to this."""
        self.again = 0
        """Records that had to be sent again, and may be there twice."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.bootstrap,
            acks="all",
            enable_idempotence=True,
            max_request_size=settings.max_request_bytes,
            request_timeout_ms=PATIENCE_MS,
        )

    async def __aenter__(self) -> Self:
        await started(self._producer)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await stopped(self._producer)

    async def send(self, count: int, kind_of: KindOf = always_good) -> None:
        """Send so many records and return when the broker has them."""
        end = self.sent + count
        while self.sent < end:
            await self._chunk(range(self.sent, min(self.sent + CHUNK, end)), kind_of)

    async def flood(self, rate: int, seconds: float, size: int, *, deadline: float = 0.0) -> None:
        """Send `rate` records of `size` bytes a second for so long, whatever becomes of them;
        with `deadline` nobody wants an answer after so many seconds."""
        began, first = time.monotonic(), self.sent
        share = max(1, rate // TURNS)
        while (passed := time.monotonic() - began) < seconds:
            ahead = (self.sent - first) / rate - passed
            if ahead > 0:
                await asyncio.sleep(ahead)
            numbers = range(self.sent, self.sent + share)
            await self._chunk(numbers, always_good, size, deadline)

    async def _chunk(
        self, numbers: range, kind_of: KindOf, size: int = 0, deadline: float = 0.0
    ) -> None:
        left = list(numbers)
        while left:
            outcomes = await asyncio.gather(
                *(self._one(n, encode(n, kind_of(n), size), deadline) for n in left),
                return_exceptions=True,
            )
            left = [n for n, outcome in zip(left, outcomes, strict=True) if _failed(outcome)]
            self.again += len(left)
        self.sent += len(numbers)

    async def _one(self, number: int, value: bytes, deadline: float) -> None:
        headers = [
            ("content-type", b"application/octet-stream"),
            ("correlation_id", b"%d" % number),
        ]
        if deadline:
            headers.append(("dd-deadline", b"%d" % int((time.time() + deadline) * 1000)))
        key = b"%d" % (number % KEYS)
        await self._producer.send_and_wait(self.topic, value, key, headers=headers)


def _failed(outcome: Any) -> bool:
    if isinstance(outcome, BaseException) and not isinstance(outcome, TRANSIENT):
        raise outcome
    return outcome is not None
