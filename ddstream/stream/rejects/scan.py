"""Reading parts of topics once, from an offset to another, without a group: for tools of people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from aiokafka import TopicPartition

from ddstream.errors import Unavailable
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped

STALLED_SECONDS = 30.0
"""How long nothing may come of what should be there."""

Spans = Mapping[int, tuple[int, int]]
"""By partition: the first offset, and the one after the last."""


class Scanner:
    """One consumer that reads what is committed; `async with` starts and stops it.

    Everything raises Unavailable when the broker does not answer.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._consumer = connection.consumer(isolation_level="read_committed")

    async def __aenter__(self) -> Self:
        try:
            await started(self._consumer)
        except TRANSIENT as error:
            await stopped(self._consumer)
            where = self._connection.settings.bootstrap
            raise Unavailable(f"Kafka at {where} does not answer: {error}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await stopped(self._consumer)

    async def partitions(self, topic: str) -> frozenset[int]:
        """The partitions that the topic has now; none if it does not exist."""
        try:
            metadata = await self._consumer._client.fetch_all_metadata()
        except TRANSIENT as error:
            raise Unavailable(f"Kafka does not answer: {error}") from error
        return frozenset(metadata.partitions_for_topic(topic) or ())

    async def spans(self, topic: str, since: float | None = None) -> dict[int, tuple[int, int]]:
        """What the topic has now, or has had since a time in Unix seconds; empty parts too."""
        tps = [TopicPartition(topic, number) for number in await self.partitions(topic)]
        if not tps:
            return {}
        try:
            first = await self._consumer.beginning_offsets(tps)
            last = await self._consumer.end_offsets(tps)
            if since is not None:
                times = {tp: max(0, int(since * 1000)) for tp in tps}
                found = await self._consumer.offsets_for_times(times)
                for tp in tps:
                    first[tp] = last[tp] if found.get(tp) is None else found[tp].offset
        except TRANSIENT as error:
            raise Unavailable(f"{topic} cannot be read: {error}") from error
        return {tp.partition: (first[tp], max(first[tp], last[tp])) for tp in tps}

    async def records(self, topic: str, spans: Spans) -> AsyncIterator[Any]:
        """Every record of the spans, in the order of each partition."""
        ends = {TopicPartition(topic, n): span[1] for n, span in spans.items() if span[0] < span[1]}
        if not ends:
            return
        self._consumer.assign(list(ends))
        for tp in ends:
            self._consumer.seek(tp, spans[tp.partition][0])
        heard = time.monotonic()
        while ends:
            polled = await self._poll(topic)
            for tp, records in polled.items():
                for record in records:
                    if tp in ends and record.offset < ends[tp]:
                        yield record
            # Behind the last record there may be only the end of a transaction.
            for tp in [tp for tp, end in ends.items() if await self._consumer.position(tp) >= end]:
                del ends[tp]
                self._consumer.pause(tp)
                heard = time.monotonic()
            if polled:
                heard = time.monotonic()
            elif time.monotonic() - heard > STALLED_SECONDS:
                raise Unavailable(f"{topic}: nothing came for {STALLED_SECONDS:g} s")

    async def _poll(self, topic: str) -> Mapping[TopicPartition, list[Any]]:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                return await self._consumer.getmany(timeout_ms=500)  # type: ignore[no-any-return]
        except TRANSIENT as error:
            raise Unavailable(f"{topic} cannot be read: {error}") from error
