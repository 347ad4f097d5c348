"""The predict loop of one service: takes records, submits calls, lets answers leave in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError

from ddstream import metrics
from ddstream.api.predict import Call
from ddstream.api.protocol import Host
from ddstream.background import Background
from ddstream.errors import DDError, ServiceNotFound
from ddstream.stream import messages
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped, topic_exists
from ddstream.stream.partition import Partition, Slot
from ddstream.stream.publisher import Publisher, refused_reply, reply_to
from ddstream.stream.topics import Topics
from ddstream.stream.versions import Versions

log = logging.getLogger(__name__)

CAP = 512
"""Most unanswered records of one partition."""
MOST = 256
"""Most records that one poll takes."""
COMMIT_SECONDS = 1.0
REVOKE_SECONDS = 50.0
"""Below the rebalance timeout, in which revoked work must be finished."""


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What a predict loop works with; all of it belongs to the worker."""

    connection: Connection
    topics: Topics
    host: Host
    producer: Any
    versions: Versions


class PredictLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """Consumes one service's requests as a member of its group."""

    def __init__(self, service: str, parts: LoopParts) -> None:
        self.service = service
        self.topic = parts.topics.predict(service)
        self.problem = "the consumer has not been assigned yet"
        """Why the loop does not work as it should, for readiness; empty when it does."""
        self._parts = parts
        self._limit = parts.connection.settings.max_request_bytes
        self._publisher = Publisher(service, parts.topics, parts.producer, self._limit)
        self._partitions: dict[int, Partition] = {}
        self._background = Background()
        self._known_replies: set[str] = set()
        self._gone = False
        self._stopping = asyncio.Event()
        self._started = asyncio.Event()
        self._progress = asyncio.Event()
        self._last_commit = time.monotonic()

    # -- its life -------------------------------------------------------------------------

    async def run(self) -> None:
        """Consume until `stop`; then finish what was taken, commit and leave the group."""
        while not self._stopping.is_set():
            consumer = self._parts.connection.consumer(
                group_id=self.topic, rebalance_timeout_ms=60_000, max_poll_records=MOST
            )
            self._consumer: AIOKafkaConsumer = consumer
            try:
                consumer.subscribe([self.topic], listener=self)
                await started(consumer)
                self._started.set()
                await self._consume(consumer)
            except TRANSIENT as error:
                self.problem = f"the consumer of {self.topic} failed: {error}"
                log.warning("%s; starting it again", self.problem)
                await asyncio.sleep(0.5)
            finally:
                self._started.clear()
                await self._leave(consumer)

    def stop(self) -> None:
        """Take nothing more; `run` returns when all is answered."""
        self._stopping.set()
        self._progress.set()

    def service_gone(self) -> None:
        """The service was deleted: what is left is answered so."""
        self._gone = True

    @property
    def unanswered(self) -> int:
        """Records that are taken and not yet answered."""
        return sum(len(partition) for partition in self._partitions.values())

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                poll = asyncio.ensure_future(consumer.getmany(timeout_ms=500))
                await asyncio.wait({poll, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not poll.done():
                    poll.cancel()
                    await asyncio.gather(poll, return_exceptions=True)
                    break
                self._take(poll.result())
                self._hold()
                if time.monotonic() - self._last_commit >= COMMIT_SECONDS:
                    # Beside: taking must not wait for the coordinator.
                    self._last_commit = time.monotonic()
                    self._background.spawn(self._commit_beside())
        finally:
            stopping.cancel()

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        await self._settled(self._partitions.values(), REVOKE_SECONDS)
        try:
            await self._commit()
        except TRANSIENT as error:
            log.warning("last commit of %s: %s", self.topic, error)
        self._partitions.clear()
        await stopped(consumer)

    # -- taking ---------------------------------------------------------------------------

    def _take(self, polled: dict[TopicPartition, list[Any]]) -> None:
        calls: list[Call] = []
        assigned = self._consumer.assignment()
        for tp, records in polled.items():
            if tp not in assigned:
                continue  # revoked meanwhile: its next owner takes them
            partition = self._partitions.get(tp.partition)
            if partition is None:
                partition = self._partitions[tp.partition] = self._partition(tp.partition)
            for record in records:
                call = self._open(partition, record)
                if call is not None:
                    calls.append(call)
            metrics.RECORDS_TAKEN.labels(self.service).inc(len(records))
        if calls:
            self._parts.host.submit(calls)

    def _open(self, partition: Partition, record: Any) -> Call | None:
        """The call of a record that can be submitted now; None if it is answered or waits."""
        slot = partition.open(record)
        if self._gone:
            slot(ServiceNotFound())
            return None
        try:
            call = messages.to_call(record, self.service, self._limit, slot)
            version = messages.number(call.headers, messages.VERSION)
        except DDError as error:
            slot(error)
            return None
        reply = reply_to(record)
        known = reply is None or reply in self._known_replies
        if known and self._parts.versions.reached(self.service, version):
            return call
        self._background.spawn(self._check(slot, call, reply, version))
        return None

    async def _check(self, slot: Slot, call: Call, reply: str | None, version: int | None) -> None:
        """Submit a call when its reply topic is found to exist and its model is loaded."""
        if reply is not None and reply not in self._known_replies:
            client = self._parts.producer.client
            if self._parts.topics.may_answer(reply) and await topic_exists(client, [reply]):
                self._known_replies.add(reply)
            else:
                # Its answer has nowhere to go but the results topic.
                slot.record.headers = tuple(
                    header for header in slot.record.headers if header[0] != messages.REPLY_TO
                )
                slot(refused_reply(reply))
                return
        try:
            await self._parts.versions.wait(self.service, version, call.deadline)
        except DDError as error:
            slot(error)
            return
        self._parts.host.submit([call])

    # -- back-pressure --------------------------------------------------------------------

    def _hold(self) -> None:
        """Pause what is full and resume what has room again; a pause throws prefetched records
        away, so that resuming waits until half is free."""
        capacity = self._parts.host.capacity()
        for partition in self._partitions.values():
            tp = TopicPartition(self.topic, partition.number)
            if not partition.paused and (capacity.full or len(partition) >= CAP):
                partition.paused = self._pause(tp)
            elif partition.paused and capacity.roomy and len(partition) <= CAP // 2:
                self._consumer.resume(tp)
                partition.paused = False

    def _pause(self, tp: TopicPartition) -> bool:
        try:
            self._consumer.pause(tp)
        except IllegalStateError:
            return False  # revoked meanwhile
        metrics.PAUSES.labels(self.service).inc()
        return True

    # -- answering ------------------------------------------------------------------------

    def _partition(self, number: int) -> Partition:
        return Partition(number, self._ready)

    def _ready(self, partition: Partition) -> None:
        partition.publishing = True
        self._background.spawn(self._publish(partition))

    async def _publish(self, partition: Partition) -> None:
        # One turn of the loop: a batch's answers come together.
        await asyncio.sleep(0)
        try:
            while slots := partition.take(MOST):
                if partition.revoked:
                    return
                await self._publisher.publish(partition.number, slots)
                partition.written(slots)
                metrics.RECORDS_ANSWERED.labels(self.service).inc(len(slots))
                if partition.paused:
                    self._hold()
        finally:
            partition.publishing = False
            self._progress.set()

    # -- commits and rebalances -----------------------------------------------------------

    async def _commit_beside(self) -> None:
        try:
            await self._commit()
        except TRANSIENT as error:
            log.warning("commit of %s: %s; the next one comes soon", self.topic, error)

    async def _commit(self) -> None:
        offsets = {
            TopicPartition(self.topic, partition.number): partition.committable
            for partition in self._partitions.values()
            if partition.committable is not None and partition.committable != partition.committed
        }
        self._last_commit = time.monotonic()
        if offsets:
            await self._consumer.commit(offsets)
            for tp, offset in offsets.items():
                if partition := self._partitions.get(tp.partition):
                    partition.committed = offset

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what runs and commit it, before another member takes over."""
        partitions = [p for tp in revoked if (p := self._partitions.get(tp.partition))]
        self.problem = "partitions are being reassigned"
        await self._settled(partitions, REVOKE_SECONDS)
        try:
            await self._commit()
        except TRANSIENT as error:
            log.warning("commit of %s at a rebalance: %s", self.topic, error)
        for partition in partitions:
            partition.revoked = True
        self._partitions.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Positions come from the commits; pauses are forgotten, so that they are made again."""
        self._partitions = {tp.partition: self._partition(tp.partition) for tp in assigned}
        self.problem = ""
        log.info("%s: assigned %s", self.topic, sorted(self._partitions))
        self._background.spawn(self._check_range(list(assigned)))

    async def _check_range(self, assigned: list[TopicPartition]) -> None:
        """Say it when records were deleted before they were answered."""
        consumer = self._consumer
        first, last = await asyncio.gather(
            consumer.beginning_offsets(assigned), consumer.end_offsets(assigned)
        )
        for tp in assigned:
            committed = await consumer.committed(tp)
            if committed is not None and not first[tp] <= committed <= last[tp]:
                metrics.OFFSETS_OUT_OF_RANGE.labels(self.service).inc()
                self.problem = (
                    f"the committed offset {committed} of {self.topic}/{tp.partition} is out of "
                    f"range ({first[tp]} to {last[tp]}): records are lost"
                )
                log.error("%s", self.problem)

    async def ends(self) -> dict[TopicPartition, int]:
        """The end offset of every partition of the topic; waits until the consumer runs."""
        await self._started.wait()
        numbers = await self._parts.producer.partitions_for(self.topic)
        tps = [TopicPartition(self.topic, number) for number in numbers]
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(tps)
        return ends

    async def caught_up(self) -> bool:
        """Every record of the assigned partitions that was there has been answered."""
        await self._started.wait()
        if self.unanswered:
            return False
        for tp in self._consumer.assignment():
            last = await self._consumer.end_offsets([tp])
            if await self._consumer.position(tp) < last[tp]:
                return False
        return True

    async def _settled(self, partitions: Iterable[Partition], seconds: float) -> None:
        waiting = list(partitions)
        try:
            async with asyncio.timeout(seconds):
                while any(len(partition) for partition in waiting):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            left = sum(len(partition) for partition in waiting)
            log.warning("%s: %d records are left to the next owner", self.topic, left)
