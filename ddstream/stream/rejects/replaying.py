"""Sending rejects back: to the partition that they came from, in the order that they had there."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from ddstream.errors import Unavailable
from ddstream.stream.admin import record_limit
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped
from ddstream.stream.rejects.reject import Reject, RejectId
from ddstream.stream.rejects.scan import Scanner
from ddstream.stream.topics import RECORD_OVERHEAD, Topics

ROOM = 1 << 16
"""What a reject may have above the limit of its request's topic."""


class Resender:
    """Checks where rejects can go, and sends them there; with `dry_run` it only checks."""

    def __init__(self, connection: Connection, scanner: Scanner, *, dry_run: bool) -> None:
        self._connection = connection
        self._scanner = scanner
        self._topics = Topics(connection.settings)
        self._producer: Any = None if dry_run else connection.producer(headroom=ROOM)
        self._known: dict[str, tuple[frozenset[int], int]] = {}

    async def __aenter__(self) -> Self:
        if self._producer is not None:
            try:
                await started(self._producer)
            except TRANSIENT as error:
                await stopped(self._producer)
                raise Unavailable(f"Kafka does not answer: {error}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._producer is not None:
            await stopped(self._producer)

    async def check(self, reject: Reject) -> tuple[bool, str]:
        """Whether it can be sent back, and where to, or why not."""
        origin = reject.origin
        if origin is None:
            return False, "it does not say where it came from: no worker wrote it"
        if self._topics.service_of(origin.topic) is None:
            return False, f"{origin.topic[:120]} is no topic of requests"
        partitions, limit = await self._target(origin.topic)
        if not partitions:
            return False, f"the service {reject.service} does not exist"
        if origin.partition not in partitions:
            return False, f"{origin.topic} has no partition {origin.partition} any more"
        size = reject.size + len(reject.key or b"") + _size(reject)
        if size > limit:
            return False, f"it has {size} bytes, {origin.topic} takes {limit}"
        return True, f"would go to {origin.topic}/{origin.partition}"

    async def send(
        self, rejects: Sequence[Reject], values: Mapping[RejectId, bytes | None]
    ) -> Mapping[RejectId, str]:
        """Where each now is: topic/partition/offset. Raises Unavailable if not all were taken."""
        parts: defaultdict[tuple[str, int], list[Reject]] = defaultdict(list)
        for reject in rejects:
            assert reject.origin is not None
            parts[reject.origin.topic, reject.origin.partition].append(reject)
        sent: list[tuple[Sequence[RejectId], Any]] = []
        try:
            for (topic, partition), part in parts.items():
                for ids, batch in self._batches(part, values):
                    future = await self._producer.send_batch(batch, topic, partition=partition)
                    sent.append((ids, future))
            written = await asyncio.gather(*(future for _, future in sent))
        except TRANSIENT as error:
            raise Unavailable(f"the replay was not taken: {error}") from error
        return {
            each: f"{at.topic}/{at.partition}/{at.offset + number}"
            for (ids, _), at in zip(sent, written, strict=True)
            for number, each in enumerate(ids)
        }

    def _batches(
        self, rejects: Sequence[Reject], values: Mapping[RejectId, bytes | None]
    ) -> Sequence[tuple[list[RejectId], Any]]:
        now = time.time()
        batches: list[tuple[list[RejectId], Any]] = []
        for reject in rejects:
            record = {
                "key": reject.key,
                "value": values[reject.id],
                "timestamp": int(now * 1000),
                "headers": reject.to_send(self._topics.rejects, now),
            }
            if not batches or batches[-1][1].append(**record) is None:
                batches.append(([], self._producer.create_batch()))
                batches[-1][1].append(**record)
            batches[-1][0].append(reject.id)
        return batches

    async def _target(self, topic: str) -> tuple[frozenset[int], int]:
        if topic not in self._known:
            partitions = await self._scanner.partitions(topic)
            settings = self._connection.settings
            limit = settings.max_request_bytes + RECORD_OVERHEAD
            if partitions:
                limit = await record_limit(self._connection, topic, limit)
            self._known[topic] = partitions, limit
        return self._known[topic]


def _size(reject: Reject) -> int:
    """About what a record has beside its key and its value."""
    return 256 + sum(len(name) + len(value or b"") + 8 for name, value in reject.headers)
