"""Delivery: how the answers of a partition reach the broker, at least once or exactly once.

Answers are written as they pile up: while the broker acknowledges some, the next ones gather, so
that at least once needs no timer. A transaction costs the same however small it is, so that those
of one partition begin some time apart; a lone answer does not wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced

from ddstream import metrics
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped
from ddstream.stream.predicting.attempts import WORKING
from ddstream.stream.predicting.partition import Partition, Slot
from ddstream.stream.predicting.publisher import Encoded, Publisher

log = logging.getLogger(__name__)

MOST = 512
"""Most answers of one write."""
TRANSACTION_SECONDS = 0.1
BUSY_SECONDS = 0.3
"""Between the transactions of a busy partition, whose records wait longer in the queue anyway."""
BUSY = 128
"""Unanswered records that make a partition busy."""
CROWD = 256
"""Answers that do not wait for the time of the next transaction."""
TRANSACTION_LIMIT = 45.0
"""Seconds after which a transaction that does not end is begun again; the broker's own is 60."""
RETRY_SECONDS = 5.0

Written = Callable[[Partition, list[Slot]], None]
Committed = Callable[[TopicPartition], Awaitable[int]]


class Fenced(Exception):
    """Another worker has taken the partition over; its text is the partition."""


class Delivery(Protocol):
    """Writes the answers of one partition."""

    trouble: str
    """Why answers cannot be written now; empty when they can."""

    async def publish(self, partition: Partition, written: Written) -> None:
        """Write all that can leave; return when nothing can. Raises Fenced."""

    async def close(self) -> None:
        """Let go of what it holds."""


class AtLeastOnce:
    """Writes through the worker's producer, and leaves the commits to the loop."""

    def __init__(self, publisher: Publisher, producer: AIOKafkaProducer) -> None:
        self.trouble = ""
        self._publisher = publisher
        self._producer = producer

    async def publish(self, partition: Partition, written: Written) -> None:
        """See Delivery."""
        while slots := partition.take(MOST):
            if partition.revoked:
                return
            await self._write(partition.number, slots)
            partition.written(slots)
            written(partition, slots)

    async def _write(self, number: int, slots: list[Slot]) -> None:
        encoded = await self._publisher.encode(slots)
        delay = 0.1
        while True:
            try:
                await self._publisher.publish(self._producer, number, encoded)
                self.trouble = ""
                return
            except TRANSIENT as error:
                self.trouble = f"answers of {self._publisher.service} cannot be written: {error!r}"
                log.warning("%s; trying again", self.trouble)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_SECONDS)

    async def close(self) -> None:
        """See Delivery: the producer is the worker's."""


class ExactlyOnce:
    """Answers, rejects, replies and the offset in one transaction.

    Its producer's transactional id names the input partition: whoever opens it next ends what is
    pending and fences this one. `committed` tells the group's offset. After a failure nobody
    knows whether the transaction was committed: the offset tells, once a new producer has it.
    """

    def __init__(
        self,
        publisher: Publisher,
        connection: Connection,
        tp: TopicPartition,
        committed: Committed,
    ) -> None:
        self.trouble = ""
        self._publisher = publisher
        self._connection = connection
        self._tp = tp
        self._committed = committed
        self._began = 0.0
        self._producer: Any = None

    async def open(self) -> None:
        """Take the transactional id; ends a predecessor's pending transaction."""
        producer = self._connection.producer(
            headroom=1 << 16, transactional_id=f"{self._tp.topic}-{self._tp.partition}"
        )
        try:
            await started(producer)
        except BaseException:
            await stopped(producer)
            raise
        self._producer = producer

    async def close(self) -> None:
        """See Delivery; a pending transaction is left to the next owner, who ends it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    async def publish(self, partition: Partition, written: Written) -> None:
        """See Delivery."""
        while partition.take(1):
            await self._due(partition)
            slots = partition.take(MOST)
            if partition.revoked or not slots:
                return
            # Outside: a transaction must not wait for a claim store.
            encoded = await self._publisher.encode(slots)
            try:
                async with asyncio.timeout(TRANSACTION_LIMIT):
                    await self._transaction(encoded)
            except ProducerFenced as error:
                metrics.TRANSACTIONS.labels(self._publisher.service, "fenced").inc()
                raise Fenced(f"{self._tp.topic}/{self._tp.partition}") from error
            except TRANSIENT as error:
                metrics.TRANSACTIONS.labels(self._publisher.service, "aborted").inc()
                self.trouble = f"a transaction of {self._publisher.service} failed: {error!r}"
                log.warning("%s; it is begun again", self.trouble)
                slots = partition.written_before(await self._recovered(partition))
                self.trouble = ""
            else:
                metrics.TRANSACTIONS.labels(self._publisher.service, "committed").inc()
                partition.written(slots)
                partition.committed = partition.committable
            written(partition, slots)

    async def _due(self, partition: Partition) -> None:
        pace = BUSY_SECONDS if len(partition) >= BUSY else TRANSACTION_SECONDS
        due = self._began + pace
        await asyncio.sleep(0)  # a batch's answers come together
        # A timer with an early end, which need not be exact.
        while (left := due - time.monotonic()) > 0 and len(partition.take(CROWD)) < CROWD:  # noqa: ASYNC110
            await asyncio.sleep(min(left, 0.01))
        self._began = time.monotonic()

    async def _transaction(self, encoded: Encoded) -> None:
        producer = self._producer
        await producer.begin_transaction()
        await self._publisher.publish(producer, self._tp.partition, encoded)
        offset = encoded.slots[-1].record.offset + 1
        await producer.send_offsets_to_transaction({self._tp: (offset, WORKING)}, self._tp.topic)
        await producer.commit_transaction()

    async def _recovered(self, partition: Partition) -> int:
        """The group's offset, once a new producer holds the id and nothing is pending."""
        delay = 0.1
        while not partition.revoked:
            try:
                await self.close()
                await self.open()
                return await self._committed(self._tp)
            except TRANSIENT as error:
                log.warning("a producer of %s: %s; trying again", self._tp.topic, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_SECONDS)
        raise Fenced(f"{self._tp.topic}/{self._tp.partition}")
