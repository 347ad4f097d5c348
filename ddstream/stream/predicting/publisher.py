"""Writing answers: results in the partition of their request, replies, and rejects."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from ddstream import metrics
from ddstream.api.envelope import Answer
from ddstream.errors import (
    BadRequest,
    DDError,
    InputError,
    InternalError,
    ParameterError,
    TooLarge,
    fault,
)
from ddstream.stream import messages
from ddstream.stream.messages import Outgoing
from ddstream.stream.predicting.claiming import Claiming
from ddstream.stream.predicting.partition import Slot
from ddstream.stream.rejects.reject import compressed
from ddstream.stream.topics import Topics
from ddstream.stream.traces import about, trace_written

log = logging.getLogger(__name__)

KEPT = (BadRequest, InputError, TooLarge, InternalError)
"""Errors whose record is kept in the rejects topic, when nobody waits for its reply."""
Make: TypeAlias = Callable[[Answer | DDError, Any, str], Outgoing]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The records that the answers of some slots become, and when their making began and ended."""

    slots: Sequence[Slot]
    elsewhere: Sequence[tuple[str, Outgoing]]
    results: Sequence[Outgoing]
    began: float
    ended: float


class Publisher:
    """Writes the answers of one service, through whatever producer it is given."""

    def __init__(self, service: str, topics: Topics, claiming: Claiming) -> None:
        self.service = service
        self._topics = topics
        self._claiming = claiming
        self._results = topics.results(service)
        self._encoding = metrics.STAGE_SECONDS.labels(service, "encode")
        self._publishing = metrics.STAGE_SECONDS.labels(service, "publish")

    async def encode(self, slots: Sequence[Slot]) -> Encoded:
        """Make the records; an answer that no record can hold is kept in the claim store first."""
        began = time.perf_counter()
        elsewhere: list[tuple[str, Outgoing]] = []
        results: list[Outgoing] = []
        for slot in slots:
            target = reply_to(slot.record)
            if target is not None and self._topics.may_answer(target):
                elsewhere.append((target, await self._fitting(slot, messages.outgoing)))
                continue
            results.append(await self._fitting(slot, messages.prediction))
            if isinstance(slot.answer, KEPT):
                elsewhere.append((self._topics.rejects, _reject(slot.answer, slot)))
        ended = time.perf_counter()
        self._encoding.observe(ended - began)
        return Encoded(slots, elsewhere, results, began, ended)

    async def publish(self, producer: AIOKafkaProducer, partition: int, encoded: Encoded) -> None:
        """Return when the answers of all slots are on the broker, in their order.

        Raises what the producer raises; then some of them may be there.
        """
        began = time.perf_counter()
        written: list[asyncio.Future[Any]] = []
        try:
            for topic, out in encoded.elsewhere:
                written.append(await _send(producer, topic, out))
            await self._send_results(producer, partition, encoded.results, written)
            await asyncio.gather(*written)
        except BaseException:
            for future in written:
                future.add_done_callback(_seen)
            raise
        self._publishing.observe(time.perf_counter() - began)
        trace_written(encoded.slots, encoded.began, encoded.ended)

    async def _fitting(self, slot: Slot, make: Make) -> Outgoing:
        assert slot.answer is not None
        try:
            out = make(slot.answer, slot.record, self.service)
        except Exception as error:
            # What no JSON can hold must not keep back the answers behind it.
            slot.answer = fault(error, f"encoding the answer to {messages.source(slot.record)}")
            return make(slot.answer, slot.record, self.service)
        if self._claiming.fits(out) or not isinstance(slot.answer, Answer):
            return out
        slot.answer = await self._claiming.fitted(slot.answer, out, slot.record)
        return make(slot.answer, slot.record, self.service)

    async def _send_results(
        self,
        producer: AIOKafkaProducer,
        partition: int,
        results: Sequence[Outgoing],
        written: list[asyncio.Future[Any]],
    ) -> None:
        topic = self._results
        batch = producer.create_batch()
        now = int(time.time() * 1000)
        for out in results:
            added = batch.append(key=out.key, value=out.value, timestamp=now, headers=out.headers)
            if added is None:
                written.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=out.key, value=out.value, timestamp=now, headers=out.headers)
        if batch.record_count():
            written.append(await producer.send_batch(batch, topic, partition=partition))


def _seen(future: asyncio.Future[Any]) -> None:
    # The first error was raised; the others say the same.
    if not future.cancelled():
        future.exception()


async def _send(producer: AIOKafkaProducer, topic: str, out: Outgoing) -> asyncio.Future[Any]:
    try:
        return await _sent(producer, topic, out)
    except MessageSizeTooLargeError:
        # Only a reject can be that large: it came compressed, and is kept so.
        try:
            return await _sent(producer, topic, await asyncio.to_thread(compressed, out))
        except MessageSizeTooLargeError:
            log.exception("a record is too large to be kept in %s", topic)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


async def _sent(producer: AIOKafkaProducer, topic: str, out: Outgoing) -> asyncio.Future[Any]:
    if out.key is not None or out.value is not None:
        sent: asyncio.Future[Any] = await producer.send(
            topic, out.value, out.key, headers=out.headers
        )
        return sent
    # `send` refuses a record that has neither key nor value, and a reject may be one.
    batch = producer.create_batch()
    now = int(time.time() * 1000)
    batch.append(key=None, value=None, timestamp=now, headers=out.headers)
    partition = random.choice(sorted(await producer.partitions_for(topic)))
    sent = await producer.send_batch(batch, topic, partition=partition)
    return sent


def reply_to(record: Any) -> str | None:
    """The topic that a request names for its answer."""
    for name, value in record.headers:
        if name == messages.REPLY_TO and value:
            return str(value, "ascii", "replace")
    return None


def refused_reply(topic: str) -> ParameterError:
    """The answer to a request whose reply topic may not be written to or does not exist."""
    return ParameterError(
        f"reply_to {topic[:200]!r} does not exist, or is neither a bridge's nor one of "
        "DDSTREAM_REPLY_TOPICS"
    )


def count(service: str, slots: Sequence[Slot]) -> None:
    """Count what was answered, and how."""
    metrics.RECORDS_ANSWERED.labels(service).inc(len(slots))
    for slot in slots:
        if isinstance(slot.answer, DDError):
            code = slot.answer.dd_code or slot.answer.code
            metrics.RECORDS_FAILED.labels(service, code).inc()
            _tell(service, slot, slot.answer)
            if isinstance(slot.answer, KEPT) and reply_to(slot.record) is None:
                metrics.RECORDS_REJECTED.labels(service, code).inc()


def _tell(service: str, slot: Slot, error: DDError) -> None:
    # What a client did wrong is his to know; a flood of it must not fill the log.
    level = logging.WARNING if error.code == 500 else logging.DEBUG
    if log.isEnabledFor(level):
        where = messages.source(slot.record)
        told = about(slot, service)
        log.log(level, "%s was answered with an error: %s", where, error, extra=told)


def _reject(error: DDError, slot: Slot) -> Outgoing:
    status, record = error.status(), slot.record
    headers = [
        *record.headers,
        ("dd-error-code", str(error.dd_code or error.code).encode()),
        ("dd-error-message", str(status.get("dd_msg", error.msg)).encode()[:1024]),
        ("dd-attempts", b"%d" % slot.attempts),
        ("dd-original-topic", record.topic.encode()),
        ("dd-original-partition", b"%d" % record.partition),
        ("dd-original-offset", b"%d" % record.offset),
        ("dd-original-timestamp", b"%d" % record.timestamp),
    ]
    return Outgoing(record.key, record.value, headers)
