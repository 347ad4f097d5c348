"""What became of rejects: marks on a compacted topic, written in transactions.

The transactional id is one for all who mark. Whoever starts last fences the others: they cannot
mark any more and stop, so that two people at work at once replay at most one portion twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from ddstream.api.envelope import dumps
from ddstream.api.stream import RejectMark
from ddstream.errors import Unavailable
from ddstream.stream.admin import ensure_topics
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped
from ddstream.stream.rejects.reject import Reject, RejectId
from ddstream.stream.rejects.scan import Scanner
from ddstream.stream.topics import Topics

VISIBLE_SECONDS = 30.0

Outcome = Literal["replayed", "dropped"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of one reject, and where it was replayed to."""

    reject: Reject
    outcome: Outcome
    target: str = ""


class Marks:
    """The marks of one cluster; `by` says who makes them."""

    def __init__(self, connection: Connection, scanner: Scanner, by: str) -> None:
        self._connection = connection
        self._scanner = scanner
        self._topics = Topics(connection.settings)
        self._by = by
        self._producer: AIOKafkaProducer | None = None
        self._last = -1

    async def read(self) -> Mapping[RejectId, RejectMark]:
        """Every mark. Raises Unavailable."""
        topic = self._topics.rejects_state
        marks: dict[RejectId, RejectMark] = {}
        async for record in self._scanner.records(topic, await self._scanner.spans(topic)):
            reject_id = RejectId.parse(record.key.decode())
            if record.value is None:
                marks.pop(reject_id, None)
            else:
                marks[reject_id] = RejectMark.model_validate(orjson.loads(record.value))
        return marks

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Within it marks can be made; it ends the same of everybody else. Raises Unavailable."""
        fixed = [t for t in self._topics.fixed() if t.name == self._topics.rejects_state]
        transactional_id = f"{self._topics.prefix}-rejects"
        self._producer = self._connection.producer(transactional_id=transactional_id)
        try:
            await ensure_topics(self._connection, fixed)
            await started(self._producer)
            yield
            await self._visible()
        except TRANSIENT as error:
            raise Unavailable(f"rejects cannot be marked: {error}") from error
        finally:
            await stopped(self._producer)
            self._producer = None

    async def add(self, resolutions: Iterable[Resolution]) -> None:
        """Mark rejects and their copies, all or none. Raises Unavailable when fenced off."""
        rows: dict[str, bytes | None] = {}
        for each in resolutions:
            row = dumps(self._mark(each).model_dump())
            rows |= {str(i): row for i in (each.reject.id, *each.reject.copies)}
        await self._write(rows)

    async def forget(self, ids: Iterable[RejectId]) -> None:
        """Remove marks."""
        await self._write({str(each): None for each in ids})

    def _mark(self, each: Resolution) -> RejectMark:
        return RejectMark(
            outcome=each.outcome,
            source=str(each.reject.origin or ""),
            rejected=round(each.reject.time * 1000),
            time=time.time(),
            by=self._by,
            target=each.target,
        )

    async def _write(self, rows: Mapping[str, bytes | None]) -> None:
        if not rows:
            return
        producer: Any = self._producer
        topic = self._topics.rejects_state
        try:
            async with producer.transaction():
                for key, value in rows.items():
                    future = await producer.send(topic, value, key.encode())
                last = await future
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise Unavailable("somebody else replays or drops rejects now; this stops") from error
        self._last = last.offset

    async def _visible(self) -> None:
        """Return when readers see what was committed: the broker answers before they do."""
        try:
            async with asyncio.timeout(VISIBLE_SECONDS):
                # The broker has no event for it.
                while await self._end() <= self._last:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise Unavailable("the marks were written, and are not seen yet") from error

    async def _end(self) -> int:
        return (await self._scanner.spans(self._topics.rejects_state))[0][1]


def marks_it(mark: RejectMark | None, reject: Reject) -> bool:
    """Whether a mark is of this reject, and not of one in a rejects topic that was made anew."""
    return (
        mark is not None
        and mark.rejected == round(reject.time * 1000)
        and mark.source == str(reject.origin or "")
    )
