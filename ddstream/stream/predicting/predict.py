"""The predict loop of one service: takes records, submits calls, lets answers leave in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from ddstream import metrics
from ddstream.api.predict import Call
from ddstream.api.stream import StreamParameters
from ddstream.background import Background
from ddstream.stream.connection import TRANSIENT, started, stopped
from ddstream.stream.predicting.attempts import WORKING, Attempts
from ddstream.stream.predicting.claiming import Claiming
from ddstream.stream.predicting.delivery import Delivery, Fenced
from ddstream.stream.predicting.opening import Opening
from ddstream.stream.predicting.partition import Partition, Slot
from ddstream.stream.predicting.parts import LoopParts
from ddstream.stream.predicting.pressure import BackPressure
from ddstream.stream.predicting.publisher import Publisher, count
from ddstream.stream.predicting.submission import Submission

log = logging.getLogger(__name__)

MOST = 256
"""Most records that one poll takes."""
COMMIT_SECONDS = 1.0
REFUSED_SECONDS = 2.0
"""Until a consumer that the access rules stopped is tried again."""
ALLOWED_SECONDS = 5.0
"""A consumer that runs for so long is no more refused, though no record came."""
REVOKE_SECONDS = 50.0
"""Below the rebalance timeout, in which revoked work must be finished."""
LAST_COMMIT_SECONDS = 10.0
LATE_SECONDS = 15.0
"""A poll that has not come for so long makes the loop unwell."""


class PredictLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """Consumes one service's requests as a member of its group."""

    def __init__(self, service: str, parts: LoopParts, options: StreamParameters) -> None:
        settings = parts.connection.settings
        self.service = service
        self.topic = parts.topics.predict(service)
        self._parts = parts
        self._cap = options.max_in_flight
        self._pressure = BackPressure(service, self.topic, self._cap, parts.host)
        self._problem = "the consumer has not been assigned yet"
        self._refused = ""
        publisher = Publisher(service, parts.topics, Claiming(service, settings, parts.claims))
        exactly_once = (options.delivery or settings.delivery) == "exactly_once"
        self._background = Background()
        self._submission = Submission(service, parts, options, self._announce, self._background)
        self._partitions: dict[int, Partition] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._polled = time.monotonic()
        self._rejoining = False
        self._stopping = False
        self._attention = asyncio.Event()
        self._opening = Opening(parts, publisher, self._attention.set, exactly_once=exactly_once)
        self._started = asyncio.Event()
        self._progress = asyncio.Event()
        self._last_commit = time.monotonic()

    # -- its life -------------------------------------------------------------------------

    async def run(self) -> None:
        """Consume until `stop`; then finish what was taken, commit and leave the group."""
        while not self._stopping:
            consumer = self._parts.connection.consumer(
                group_id=self.topic, rebalance_timeout_ms=60_000, max_poll_records=MOST
            )
            self._consumer: AIOKafkaConsumer = consumer
            self._rejoining = False
            try:
                consumer.subscribe([self.topic], listener=self)
                await started(consumer)
                self._started.set()
                await self._consume(consumer)
            except Exception as error:
                why = self._parts.connection.refused(error, "read")
                self._refused = str(why or "")
                self._problem = f"the consumer of {self.topic} failed: {why or repr(error)}"
                bug = not isinstance(error, TRANSIENT)
                log.warning("%s; starting it again", self._problem, exc_info=bug)
                await asyncio.sleep(REFUSED_SECONDS if self.refused else 0.5)
            finally:
                self._started.clear()
                await self._leave(consumer)

    def stop(self) -> None:
        """Take nothing more; `run` returns when all is answered."""
        self._stopping = True
        self._attention.set()
        self._progress.set()

    def service_gone(self) -> None:
        """The service was deleted: what is left is answered so."""
        self._submission.gone = True

    @property
    def refused(self) -> str:
        """What the cluster's access rules deny the consumer; empty while it takes records."""
        return self._opening.refused or self._refused

    @property
    def problem(self) -> str:
        """Why the loop does not work as it should, for readiness; empty when it does."""
        if self.refused or self._problem:
            return self.refused or self._problem
        late = time.monotonic() - self._polled
        if late > LATE_SECONDS:
            return f"{self.topic} was not polled for {late:.0f} s"
        return next((d.trouble for d in self._deliveries.values() if d.trouble), "")

    @property
    def unanswered(self) -> int:
        """Records that are taken and not yet answered."""
        return sum(len(partition) for partition in self._partitions.values())

    def positions(self) -> list[tuple[int, int, int | None]]:
        """Of each partition: its number, the offset up to which all is answered, and the
        timestamp of the oldest record that is taken and not answered, in Unix milliseconds."""
        return [
            (p.number, p.committable, None if p.oldest is None else p.oldest.record.timestamp)
            for p in list(self._partitions.values())
        ]

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        alarm = asyncio.ensure_future(self._attention.wait())
        begun = time.monotonic()
        try:
            while not self._stopping and not self._rejoining:
                if self._attention.is_set():
                    self._attention.clear()
                    alarm.cancel()
                    alarm = asyncio.ensure_future(self._attention.wait())
                self._install()
                self._take(await self._poll(consumer, alarm))
                if not self._problem and time.monotonic() - begun > ALLOWED_SECONDS:
                    self._refused = ""
                self._pressure.apply(consumer, self._partitions.values())
                if time.monotonic() - self._last_commit >= COMMIT_SECONDS:
                    # Beside: taking must not wait for the coordinator.
                    self._last_commit = time.monotonic()
                    self._background.spawn(self._commit_beside())
        finally:
            alarm.cancel()

    async def _poll(
        self, consumer: AIOKafkaConsumer, alarm: asyncio.Future[Any]
    ) -> dict[TopicPartition, list[Any]]:
        self._polled = time.monotonic()
        poll = asyncio.ensure_future(consumer.getmany(timeout_ms=500))
        await asyncio.wait({poll, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not poll.done():
            poll.cancel()
            await asyncio.wait({poll})
        return {} if poll.cancelled() else poll.result()

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        await self._give_up(list(self._partitions.values()))
        await stopped(consumer)
        # To its last moment it may have been assigned partitions, or have been giving some up.
        await self._opening.cancel()
        for delivery in self._deliveries.values():
            await delivery.close()
        self._deliveries.clear()
        self._partitions.clear()

    # -- taking ---------------------------------------------------------------------------

    def _install(self) -> None:
        """Take from what was opened; between two polls, so that none is under way."""
        for one in self._opening.take():
            partition = Partition(
                one.tp.partition, one.start, self._ready, self._submission.troubled
            )
            partition.attempts = one.attempts.count + 1
            if one.attempts.suspicious:
                partition.alone_until = min(one.end, one.start + self._cap + MOST)
                partition.culprit = one.start if one.attempts.alone else None
                log.error(
                    "%s/%d: %d workers died of records from %d on: they are run one by one",
                    *(self.topic, one.tp.partition, one.attempts.count, one.start),
                )
            self._partitions[partition.number] = partition
            self._deliveries[partition.number] = one.delivery
            self._consumer.seek(one.tp, one.start)
            self._consumer.resume(one.tp)

    def _take(self, polled: dict[TopicPartition, list[Any]]) -> None:
        calls: list[Call] = []
        for tp, records in polled.items():
            partition = self._partitions.get(tp.partition)
            if partition is None or partition.revoked:
                continue  # not open, or revoked meanwhile: they are read again
            calls += self._submission.take(partition, records)
            metrics.RECORDS_TAKEN.labels(self.service).inc(len(records))
        self._submission.submit(calls)

    # -- answering ------------------------------------------------------------------------

    def _ready(self, partition: Partition) -> None:
        partition.publishing = self._background.spawn(self._publish(partition))

    async def _publish(self, partition: Partition) -> None:
        # One turn of the loop: a batch's answers come together.
        await asyncio.sleep(0)
        try:
            await self._deliveries[partition.number].publish(partition, self._written)
        except Exception as error:
            self._problem = f"answers of {self.topic}/{partition.number} cannot leave: {error!r}"
            bug = not isinstance(error, Fenced)
            log.warning("%s; joining the group again", self._problem, exc_info=bug)
            partition.revoked = self._rejoining = True
            self._attention.set()
        finally:
            partition.publishing = None
            self._progress.set()

    def _written(self, partition: Partition, slots: Sequence[Slot]) -> None:
        count(self.service, slots)
        self._progress.set()
        if partition.paused_since is not None:
            self._pressure.apply(self._consumer, self._partitions.values())

    async def _announce(self, partition: Partition, slot: Slot, alone: bool) -> None:
        """Commit that a record is about to run alone, or that its answer is written."""
        offset = slot.record.offset if alone else slot.record.offset + 1
        while not (partition.oldest is slot if alone else partition.committable >= offset):
            if partition.revoked:
                return
            self._progress.clear()
            await self._progress.wait()
        tp = TopicPartition(self.topic, partition.number)
        said = str(Attempts(partition.attempts if alone or partition.solo else 1, alone))
        while not partition.revoked:
            try:
                await self._consumer.commit({tp: (offset, said)})
                break
            except TRANSIENT as error:
                log.warning("commit of %s before a record runs alone: %s", self.topic, error)
            await asyncio.sleep(0.5)

    # -- commits and rebalances -----------------------------------------------------------

    async def _commit_beside(self) -> None:
        try:
            await self._commit()
        except TRANSIENT as error:
            log.warning("commit of %s: %s; the next one comes soon", self.topic, error)

    async def _commit(self) -> None:
        offsets = {
            TopicPartition(self.topic, partition.number): (partition.committable, WORKING)
            for partition in self._partitions.values()
            if partition.committable != partition.committed and not partition.revoked
        }
        self._last_commit = time.monotonic()
        if offsets:
            await self._consumer.commit(offsets)
            for tp, (offset, _) in offsets.items():
                if (partition := self._partitions.get(tp.partition)) is not None:
                    partition.committed = offset

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what runs and commit it, before another member takes over."""
        self._problem = f"partitions of {self.topic} are being reassigned"
        numbers = {tp.partition for tp in revoked}
        await self._give_up([p for p in self._partitions.values() if p.number in numbers])

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause them at once, and open them beside: what is raised here is lost."""
        tps = sorted(assigned)
        self._consumer.pause(*tps)
        self._problem = ""
        await self._opening.begin(self._consumer, tps)

    async def _give_up(self, partitions: list[Partition]) -> None:
        """Finish, commit and forget partitions; what cannot be finished is the next owner's."""
        await self._opening.cancel()
        suspicious = {p.number: Attempts(p.attempts) for p in partitions if p.solo or p.soloing}
        for partition in partitions:
            partition.give_up_solo()
        await self._settled(partitions, REVOKE_SECONDS)
        assigned = self._consumer.assignment()
        offsets = {
            tp: (p.committable, str(suspicious.get(p.number, Attempts())))
            for p in partitions
            if not p.revoked and (tp := TopicPartition(self.topic, p.number)) in assigned
        }
        try:
            if offsets:
                # The client tries for ever when the topic is gone.
                async with asyncio.timeout(LAST_COMMIT_SECONDS):
                    await self._consumer.commit(offsets)
        except TRANSIENT as error:
            log.warning("last commit of %s: %s", self.topic, error)
        for partition in partitions:
            partition.revoked = True
            if (publishing := partition.publishing) is not None:
                publishing.cancel()
                await asyncio.wait({publishing})
            if delivery := self._deliveries.pop(partition.number, None):
                await delivery.close()
            self._partitions.pop(partition.number, None)
        self._progress.set()

    async def _settled(self, partitions: Iterable[Partition], seconds: float) -> None:
        waiting = list(partitions)
        try:
            async with asyncio.timeout(seconds):
                while any(len(p) for p in waiting if not p.revoked):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            left = sum(len(partition) for partition in waiting)
            log.warning("%s: %d records are left to the next owner", self.topic, left)

    # -- how far it is --------------------------------------------------------------------

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
        assignment = self._consumer.assignment()
        if self.unanswered or {tp.partition for tp in assignment} != set(self._partitions):
            return False
        for tp in assignment:
            last = await self._consumer.end_offsets([tp])
            if await self._consumer.position(tp) < last[tp]:
                return False
        return True
