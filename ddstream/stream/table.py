"""A compacted topic as a table in memory: read from the start, then followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from ddstream.api.envelope import Json
from ddstream.background import Background
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped

log = logging.getLogger(__name__)

OnRow = Callable[[str, Json | None], Awaitable[None]]
"""Hears of each row that is new, changed (its value) or gone (None), in order."""


class Table:
    """The rows of a topic by key. `caught_up` is set when all that was there at the start is read.

    It follows its topic without a group: every process reads every row.
    """

    def __init__(self, connection: Connection, topic: str, on_row: OnRow | None = None) -> None:
        self.topic = topic
        self.rows: dict[str, Json] = {}
        self.caught_up = asyncio.Event()
        self._connection = connection
        self._on_row = on_row
        self._background = Background()
        self._changed = asyncio.Condition()
        self._next: dict[TopicPartition, int] = {}
        self.problem = ""
        """Why it is not followed now; empty when it is."""

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
                self.problem = str(error)
                log.warning("table %s: %s; reading on", self.topic, error)
                await asyncio.sleep(0.5)
            finally:
                await stopped(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        partitions = await self._assign(consumer)
        ends = await consumer.end_offsets(partitions)
        self.problem = ""
        while True:
            if not self.caught_up.is_set() and await self._at(consumer, ends):
                self.caught_up.set()
                log.info("table %s: %d rows read", self.topic, len(self.rows))
            polled = await consumer.getmany(timeout_ms=200 if not self.caught_up.is_set() else 1000)
            for tp, records in polled.items():
                for record in records:
                    await self._row(record)
                    self._next[tp] = record.offset + 1
            if polled:
                async with self._changed:
                    self._changed.notify_all()

    async def _assign(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        numbers: set[int] | None = None
        while not numbers:
            # The topic is made at the start of whoever comes first; metadata may lag behind.
            await consumer._client.force_metadata_update()
            metadata = await consumer._client.fetch_all_metadata()
            numbers = metadata.partitions_for_topic(self.topic)
            if not numbers:
                await asyncio.sleep(0.2)
        partitions = [TopicPartition(self.topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        # Without a group a consumer begins with the earliest record; a seek to there would wait
        # for the fetch in flight, half a second for each partition.
        for tp, position in self._next.items():
            consumer.seek(tp, position)
        return partitions

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
            self.rows[key] = row
        if self._on_row is not None:
            try:
                await self._on_row(key, row)
            except Exception:
                # One bad row must not stop the table for all the others.
                log.exception("table %s: row %s", self.topic, key)
