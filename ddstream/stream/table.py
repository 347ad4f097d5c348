"""A compacted topic as a table in memory: read from the start, then followed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from ddstream.api.envelope import Json
from ddstream.background import Background
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped
from ddstream.stream.pulse import Turning

log = logging.getLogger(__name__)

LATE_SECONDS = 15.0
"""A table whose rows were not asked for so long, or that is behind so long, is unwell."""

OnRow = Callable[[str, Json | None], Awaitable[None]]
"""Hears of each row that is new, changed (its value) or gone (None), in order."""
Accepts = Callable[[Json | None, Json], bool]
"""Whether a row may take the place of the one that is there, or of none."""
Refused = Callable[[str, Json], Awaitable[None]]
"""Hears of each row that may not, and its key."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """Somebody who waits until the topic is read up to where it ended when he asked."""

    done: asyncio.Future[None]
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)


class Table:
    """The rows of a topic by key. `caught_up` is set when all that was there at the start is read.

    It follows its topic without a group: every process reads every row.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        on_row: OnRow | None = None,
        *,
        accepts: Accepts | None = None,
    ) -> None:
        self.topic = topic
        self.rows: dict[str, Json] = {}
        self.caught_up = asyncio.Event()
        self._connection = connection
        self._on_row = on_row
        self._accepts = accepts
        self._refused: Refused | None = None
        self._waiting: list[_Waiting] = []
        self._background = Background()
        self._changed = asyncio.Condition()
        self._next: dict[TopicPartition, int] = {}
        self._trouble = ""
        self._turning = Turning(f"table {topic}", LATE_SECONDS)
        self._behind: float | None = None
        """Since when it is behind; None while it is not."""

    @property
    def problem(self) -> str:
        """Why its rows are not what they should be; empty when they are. It waits for nothing."""
        if self._trouble:
            return f"table {self.topic}: {self._trouble}"
        if not self.caught_up.is_set():
            return f"table {self.topic} has not been read to its end yet"
        if self._behind is not None and time.monotonic() - self._behind > LATE_SECONDS:
            return f"table {self.topic} has been behind for {time.monotonic() - self._behind:.0f} s"
        return self._turning.problem

    def listen(self, on_row: OnRow, refused: Refused) -> None:
        """Have somebody hear of what comes from here on."""
        self._on_row, self._refused = on_row, refused

    async def current(self) -> None:
        """Return when all that is on the topic at the call has been read."""
        waiting = _Waiting(asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        await waiting.done

    async def start(self) -> None:
        """Begin to read."""
        self._background.spawn(self._follow())

    async def stop(self) -> None:
        """Stop reading."""
        await self._background.cancel()

    async def until(self, condition: Callable[[Mapping[str, Json]], bool]) -> None:
        """Return when the rows fulfil a condition."""
        async with self._changed:
            await self._changed.wait_for(lambda: condition(self.rows))

    async def _follow(self) -> None:
        while True:
            consumer = self._connection.consumer()
            try:
                await started(consumer)
                await self._read(consumer)
            except TRANSIENT as error:
                self._trouble = repr(error)
                log.warning("table %s: %s; reading on", self.topic, error)
                await asyncio.sleep(0.5)
            finally:
                await stopped(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        partitions = await self._assign(consumer)
        ends = await consumer.end_offsets(partitions)
        self._trouble = ""
        while True:
            self._turning.turned()
            if not self.caught_up.is_set() and await self._at(consumer, ends):
                self.caught_up.set()
                log.info("table %s: %d rows read", self.topic, len(self.rows))
            await self._serve(consumer, partitions)
            hurry = self._waiting or not self.caught_up.is_set()
            polled = await consumer.getmany(timeout_ms=200 if hurry else 1000)
            for tp, records in polled.items():
                for record in records:
                    await self._row(record)
                    self._next[tp] = record.offset + 1
            if polled:
                async with self._changed:
                    self._changed.notify_all()
            await self._look_ahead(consumer)

    async def _serve(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> None:
        """Wake those for whom enough is read; here all that was polled has been taken in."""
        for waiting in list(self._waiting):
            waiting.ends = waiting.ends or await consumer.end_offsets(partitions)
            if await self._at(consumer, waiting.ends):
                self._waiting.remove(waiting)
                if not waiting.done.done():
                    waiting.done.set_result(None)

    async def _assign(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        numbers: set[int] | None = None
        while not numbers:
            # The topic is made at the start of whoever comes first; metadata may lag behind.
            await consumer._client.force_metadata_update()
            metadata = await consumer._client.fetch_all_metadata()
            numbers = metadata.partitions_for_topic(self.topic)
            if not numbers:
                self._trouble = "its topic does not exist"
                await asyncio.sleep(0.2)
        partitions = [TopicPartition(self.topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        # Without a group a consumer begins with the earliest record; a seek to there would wait
        # for the fetch in flight, half a second for each partition.
        for tp, position in self._next.items():
            consumer.seek(tp, position)
        return partitions

    async def _look_ahead(self, consumer: AIOKafkaConsumer) -> None:
        # The broker told with its last answers how far the topic goes.
        known = {tp: consumer.highwater(tp) for tp in consumer.assignment()}
        ends = {tp: end for tp, end in known.items() if end is not None}
        if not self.caught_up.is_set() or await self._at(consumer, ends):
            self._behind = None
        elif self._behind is None:
            self._behind = time.monotonic()

    async def _at(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        for tp, end in ends.items():
            if await consumer.position(tp) < end:
                return False
        return True

    async def _row(self, record: Any) -> None:
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self.rows.pop(key, None)
            row = None
        else:
            try:
                row = orjson.loads(record.value)
            except orjson.JSONDecodeError:
                log.error("table %s: the row %s is no JSON and is skipped", self.topic, key)
                return
            if self._accepts is not None and not self._accepts(self.rows.get(key), row):
                await self._refuse(key, row)
                return
            self.rows[key] = row
        if self._on_row is not None:
            try:
                await self._on_row(key, row)
            except Exception:
                # One bad row must not stop the table for all the others.
                log.exception("table %s: row %s", self.topic, key)

    async def _refuse(self, key: str, row: Json) -> None:
        log.debug("table %s: an outdated row %s is passed over", self.topic, key)
        if self._refused is not None:
            await self._refused(key, row)
