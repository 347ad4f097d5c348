"""A bridge's replies: its own topic, and who waits for which correlation id."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from ddstream.api.envelope import Answer
from ddstream.background import Background
from ddstream.errors import DDError, InternalError, TimedOut, fault
from ddstream.stream import messages
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped
from ddstream.stream.messages import Headers
from ddstream.stream.pulse import Turning
from ddstream.telemetry.origin import origin

log = logging.getLogger(__name__)

GRACE_SECONDS = 1.0
"""How much longer a caller waits than the deadline that the worker was told."""
LATE_SECONDS = 15.0
"""Replies that were not asked for so long make the bridge unwell."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to come, and the headers that ask for it."""

    headers: Headers
    future: asyncio.Future[Answer]
    deadline: float

    async def wait(self) -> Answer:
        """The answer. Raises what it carries, or TimedOut."""
        try:
            async with asyncio.timeout(max(0.0, self.deadline - time.time()) + GRACE_SECONDS):
                return await self.future
        except TimeoutError as error:
            raise TimedOut("no answer came before the request's timeout") from error


class Replies:
    """Reads the reply topic from its end; an answer that nobody waits for is passed over."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self.topic = topic
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._background = Background()
        self._position: int | None = None
        self._ready = asyncio.Event()
        self._trouble = ""
        self._turning = Turning(f"reply topic {topic}", LATE_SECONDS)

    @property
    def problem(self) -> str:
        """Why replies may be missed; empty when they are not. It waits for nothing."""
        return f"replies: {self._trouble}" if self._trouble else self._turning.problem

    async def start(self) -> None:
        """Begin to read; returns when no reply can be missed."""
        self._background.spawn(self._follow())
        await self._ready.wait()

    async def stop(self) -> None:
        """Stop reading; who still waits gets 504."""
        await self._background.cancel()
        self.fail("the bridge is stopping")

    @contextmanager
    def open(self, deadline: float) -> Iterator[Reply]:
        """A new correlation id whose answer can be waited for until the end of `with`.

        It begins with the id of the caller's request; its end is new, for a client may use an id
        twice, and a late answer must not be taken for that of the next request.
        """
        correlation = "-".join(filter(None, (origin().correlation_id, secrets.token_hex(6))))
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = future
        headers = (
            (messages.CORRELATION, correlation.encode()),
            (messages.REPLY_TO, self.topic.encode()),
            (messages.DEADLINE, b"%d" % int(deadline * 1000)),
        )
        try:
            yield Reply(headers, future, deadline)
        finally:
            del self._waiting[correlation]

    def fail(self, why: str) -> None:
        """Answer everybody who waits with 504."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TimedOut(why))

    def __len__(self) -> int:
        return len(self._waiting)

    async def _follow(self) -> None:
        while True:
            consumer = self._connection.consumer(fetch_max_wait_ms=200)
            try:
                await started(consumer)
                await self._read(consumer)
            except TRANSIENT as error:
                self._trouble = repr(error)
                log.warning("replies %s: %s; reading on", self.topic, error)
                await asyncio.sleep(0.5)
            finally:
                await stopped(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        tp = TopicPartition(self.topic, 0)
        consumer.assign([tp])
        if self._position is None:
            await consumer.seek_to_end(tp)
            self._position = await consumer.position(tp)
        else:
            consumer.seek(tp, self._position)
        self._ready.set()
        self._trouble = ""
        while True:
            self._turning.turned()
            polled = await consumer.getmany(timeout_ms=1000)
            for records in polled.values():
                for record in records:
                    self._arrived(record)
                self._position = records[-1].offset + 1

    def _arrived(self, record: Any) -> None:
        headers = dict(record.headers)
        correlation = headers.get(messages.CORRELATION, b"").decode("ascii", "replace")
        future = self._waiting.get(correlation)
        if future is None or future.done():
            return
        try:
            future.set_result(messages.from_reply(record.value or b"", headers))
        except DDError as error:
            future.set_exception(error)
        except ValueError as error:
            future.set_exception(fault(InternalError(str(error)), "reading a reply"))
