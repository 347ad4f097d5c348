"""The rejects topic as people work on it: list, show, replay, drop.

Kafka removes no single record, so what was replayed or dropped is marked on `rejects-state`. A
reject is marked after its replay is on the broker: who is killed between replays a portion
again, and loses nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from ddstream.api.stream import RejectMark
from ddstream.errors import BadRequest, NotFound
from ddstream.stream.admin import delete_before
from ddstream.stream.connection import Connection
from ddstream.stream.rejects.marks import Marks, Resolution, marks_it
from ddstream.stream.rejects.reject import Reject, RejectId, Which, ordered, united, value_of
from ddstream.stream.rejects.replaying import Resender
from ddstream.stream.rejects.scan import Scanner
from ddstream.stream.topics import Topics

PORTION = 100
"""Most rejects that are replayed between two marks."""
PORTION_BYTES = 16 << 20
ALL = Which()


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one reject that was asked for: where it went, or why it stays."""

    id: RejectId
    ok: bool
    detail: str


class Rejects:
    """The rejects of one cluster: `async with Rejects(connection, by="me@here") as rejects`.

    Every method raises Unavailable when the broker does not answer.
    """

    def __init__(self, connection: Connection, *, by: str = "") -> None:
        self._connection = connection
        self._topics = Topics(connection.settings)
        self._scanner = Scanner(connection)
        self._marks = Marks(connection, self._scanner, by)

    async def __aenter__(self) -> Self:
        await self._scanner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._scanner.__aexit__(kind, error, trace)

    async def list(self, which: Which = ALL) -> Sequence[Reject]:
        """The rejects that are meant, in the order in which they would be replayed."""
        everything = await self._read(which.since)
        return ordered([reject for reject in everything if which.fits(reject)])[: which.limit]

    async def show(self, reject_id: RejectId) -> tuple[Reject, bytes | None]:
        """One reject, open or not, and its value. Raises NotFound."""
        records = await self._records([reject_id])
        if reject_id not in records:
            raise NotFound(f"there is no reject {reject_id}")
        record = records[reject_id]
        (reject,) = _marked([Reject.of(record, self._topics)], await self._marks.read())
        return reject, value_of(record)

    async def replay(
        self, which: Which, *, dry_run: bool = False
    ) -> AsyncGenerator[Sequence[Done], None]:
        """Send rejects back to where they came from; each step is one portion, sent and marked.

        A step that was given back is complete, so that stopping there repeats nothing.
        """
        async with Resender(self._connection, self._scanner, dry_run=dry_run) as resender:
            if dry_run:
                chosen = await self.list(which)
                yield self._strangers(which, chosen)
                yield [Done(r.id, *await resender.check(r)) for r in chosen]
                return
            async with self._marks.writing():
                chosen = await self._chosen(which)
                yield self._strangers(which, chosen)
                for portion in portions(chosen):
                    yield await self._replay(resender, portion)

    async def drop(
        self, which: Which, *, dry_run: bool = False
    ) -> AsyncGenerator[Sequence[Done], None]:
        """Mark rejects as dropped; their bytes stay until their retention, or `purge`."""
        if dry_run:
            chosen = await self.list(which)
            yield self._strangers(which, chosen)
            yield [Done(r.id, True, "would be dropped") for r in chosen]
            return
        async with self._marks.writing():
            chosen = await self._chosen(which)
            yield self._strangers(which, chosen)
            for portion in portions(chosen):
                await self._marks.add(Resolution(r, "dropped") for r in portion)
                yield [Done(r.id, True, "dropped") for r in portion]

    async def purge(self) -> int:
        """Delete what lies before the first open reject of each partition; how many records."""
        spans = await self._scanner.spans(self._topics.rejects)
        before = {number: end for number, (_, end) in spans.items()}
        for reject in await self._read(None):
            if reject.mark is None:
                for each in (reject.id, *reject.copies):
                    before[each.partition] = min(before[each.partition], each.offset)
        gone = {n: offset for n, offset in before.items() if offset > spans[n][0]}
        if gone:
            await delete_before(self._connection, self._topics.rejects, gone)
            async with self._marks.writing():
                await self._chosen(Which(limit=0))
        return sum(offset - spans[number][0] for number, offset in gone.items())

    # -- inside ---------------------------------------------------------------------------

    async def _read(self, since: float | None) -> Sequence[Reject]:
        marks = await self._marks.read()
        topic = self._topics.rejects
        spans = await self._scanner.spans(topic, since)
        records = self._scanner.records(topic, spans)
        return united(_marked([Reject.of(record, self._topics) async for record in records], marks))

    async def _chosen(self, which: Which) -> Sequence[Reject]:
        """The open rejects that are meant; marks of records that are gone are removed."""
        first = await self._scanner.spans(self._topics.rejects)
        marks = await self._marks.read()
        await self._marks.forget(
            each
            for each in marks
            if each.partition not in first or each.offset < first[each.partition][0]
        )
        return await self.list(replace(which, resolved=False))

    async def _replay(self, resender: Resender, portion: Sequence[Reject]) -> Sequence[Done]:
        checked = {reject.id: await resender.check(reject) for reject in portion}
        good = [reject for reject in portion if checked[reject.id][0]]
        records = await self._records([reject.id for reject in good])
        values: dict[RejectId, bytes | None] = {}
        for reject_id, record in records.items():
            try:
                values[reject_id] = value_of(record)
            except BadRequest as error:
                checked[reject_id] = (False, error.detail)
        there = [reject for reject in good if reject.id in values]
        targets = await resender.send(there, values)
        await self._marks.add(Resolution(r, "replayed", targets[r.id]) for r in there)
        return [
            Done(r.id, r.id in targets, targets[r.id] if r.id in targets else _why(checked[r.id]))
            for r in portion
        ]

    async def _records(self, ids: Collection[RejectId]) -> Mapping[RejectId, Any]:
        spans: dict[int, tuple[int, int]] = {}
        wanted = frozenset(ids)
        there = await self._scanner.spans(self._topics.rejects)
        for each in wanted:
            first, end = there.get(each.partition, (0, 0))
            if first <= each.offset < end:
                low, high = spans.get(each.partition, (each.offset, each.offset))
                spans[each.partition] = (min(low, each.offset), max(high, each.offset + 1))
        found = {}
        async for record in self._scanner.records(self._topics.rejects, spans):
            reject_id = RejectId(record.partition, record.offset)
            if reject_id in wanted:
                found[reject_id] = record
        return found

    @staticmethod
    def _strangers(which: Which, chosen: Sequence[Reject]) -> Sequence[Done]:
        """What was asked for by its id and is not open, or does not fit."""
        known = {i for reject in chosen for i in (reject.id, *reject.copies)}
        return [
            Done(each, False, "there is no such open reject")
            for each in which.ids
            if each not in known
        ]


def portions(rejects: Sequence[Reject]) -> Sequence[Sequence[Reject]]:
    """Parts of at most PORTION rejects and PORTION_BYTES, or of one that is larger."""
    parts: list[list[Reject]] = []
    size = 0
    for reject in rejects:
        size += reject.size
        if not parts or len(parts[-1]) == PORTION or size > PORTION_BYTES:
            parts.append([])
            size = reject.size
        parts[-1].append(reject)
    return parts


def _marked(rejects: Sequence[Reject], marks: Mapping[RejectId, RejectMark]) -> Sequence[Reject]:
    return [
        replace(reject, mark=mark) if marks_it(mark := marks.get(reject.id), reject) else reject
        for reject in rejects
    ]


def _why(checked: tuple[bool, str]) -> str:
    ok, why = checked
    return "it is gone from the topic" if ok else why
