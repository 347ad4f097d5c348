"""Opening assigned partitions: nothing is taken from one before all of this is done.

The order matters. A consumer fetches before it tells of an assignment, and while a predecessor's
transaction is pending it reads the offset before it. So: the partitions are paused, their
producers are started (which ends what is pending), then the committed offsets are read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from ddstream import metrics
from ddstream.stream.connection import TRANSIENT
from ddstream.stream.predicting.attempts import Attempts
from ddstream.stream.predicting.delivery import AtLeastOnce, Delivery, ExactlyOnce
from ddstream.stream.predicting.parts import LoopParts
from ddstream.stream.predicting.publisher import Publisher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition from which records can be taken."""

    tp: TopicPartition
    start: int
    """The first offset to take."""
    end: int
    """The offset after the last record that was there."""
    attempts: Attempts
    """What the predecessor left."""
    delivery: Delivery
    lost: str = ""
    """Said when records were deleted before they were answered."""


class Opening:
    """Opens partitions of one service's topic; `ready` is called when there are some to `take`."""

    def __init__(
        self,
        parts: LoopParts,
        publisher: Publisher,
        ready: Callable[[], None],
        *,
        exactly_once: bool,
    ) -> None:
        self.problem = ""
        """Why partitions are not open; empty when they are."""
        self.refused = ""
        """What the cluster's access rules deny; empty when they are open."""
        self._parts = parts
        self._publisher = publisher
        self._ready = ready
        self._exactly_once = exactly_once
        self._task: asyncio.Task[None] | None = None
        self._opened: list[Opened] = []

    async def begin(self, consumer: AIOKafkaConsumer, tps: list[TopicPartition]) -> None:
        """Open them beside, trying for as long as it takes; what was begun before is given up."""
        await self.cancel()
        self.problem = "assigned partitions are being opened"
        self._task = asyncio.create_task(self._open(consumer, tps))

    def take(self) -> list[Opened]:
        """What was opened since the last time."""
        opened, self._opened = self._opened, []
        return opened

    async def cancel(self) -> None:
        """Give up what is being opened, and let go of what was not taken."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        for one in self.take():
            await one.delivery.close()

    async def _open(self, consumer: AIOKafkaConsumer, tps: list[TopicPartition]) -> None:
        delay = 0.2
        while True:
            try:
                self._opened = await self._attempt(consumer, tps) if tps else []
                break
            except Exception as error:
                why = self._parts.connection.refused(error, "read")
                self.refused = str(why or "")
                told = why or repr(error)
                self.problem = f"{self._publisher.service}: partitions cannot be opened: {told}"
                fault = not isinstance(error, TRANSIENT)
                log.warning("%s; trying again", self.problem, exc_info=fault)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)
        log.info("%s: assigned %s", self._publisher.service, [tp.partition for tp in tps])
        self.refused = ""
        self.problem = next((one.lost for one in self._opened if one.lost), "")
        self._ready()

    async def _attempt(
        self, consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]
    ) -> list[Opened]:
        """Open them all. Raises what the clients raise; then nothing is held."""
        deliveries = [self._delivery(consumer, tp) for tp in tps]
        try:
            await _all(d.open() for d in deliveries if isinstance(d, ExactlyOnce))
            first, last, committed = await asyncio.gather(
                consumer.beginning_offsets(tps), consumer.end_offsets(tps), offsets(consumer, tps)
            )
            opened = [
                self._opened_one(tp, (first[tp], last[tp]), committed.get(tp), delivery)
                for tp, delivery in zip(tps, deliveries, strict=True)
            ]
            await consumer.commit({o.tp: (o.start, str(o.attempts.more())) for o in opened})
        except BaseException:
            for delivery in deliveries:
                await delivery.close()
            raise
        return opened

    def _delivery(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> Delivery:
        if not self._exactly_once:
            return AtLeastOnce(self._publisher, self._parts.producer)

        async def committed(tp: TopicPartition) -> int:
            found = (await offsets(consumer, [tp])).get(tp)
            return -1 if found is None else int(found.offset)

        return ExactlyOnce(self._publisher, self._parts.connection, tp, committed)

    def _opened_one(
        self, tp: TopicPartition, bounds: tuple[int, int], committed: Any, delivery: Delivery
    ) -> Opened:
        first, last = bounds
        offset = first if committed is None or committed.offset < 0 else committed.offset
        attempts = Attempts.parse(committed.metadata if committed is not None else "")
        if first <= offset <= last:
            return Opened(tp, offset, last, attempts, delivery)
        metrics.OFFSETS_OUT_OF_RANGE.labels(self._publisher.service).inc()
        lost = (
            f"the committed offset {offset} of {tp.topic}/{tp.partition} is out of "
            f"range ({first} to {last}): records are lost"
        )
        log.error("%s", lost)
        return Opened(tp, first, last, Attempts(), delivery, lost)


async def _all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do the steps side by side; if some fail, the others end before the first error is raised."""
    for outcome in await asyncio.gather(*steps, return_exceptions=True):
        if outcome is not None:
            raise outcome


async def offsets(
    consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]
) -> dict[TopicPartition, Any]:
    """The group's offsets with their metadata; a partition without one has offset -1 or is
    missing. The public `committed` leaves the metadata out."""
    found: dict[TopicPartition, Any] = await consumer._coordinator.fetch_committed_offsets(tps)
    return found
