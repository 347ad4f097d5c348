"""Writing answers: results in the partition of their request, replies, and rejects."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

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
)
from ddstream.stream import messages
from ddstream.stream.messages import Outgoing
from ddstream.stream.partition import Slot
from ddstream.stream.topics import Topics
from ddstream.stream.traces import trace_written

log = logging.getLogger(__name__)

KEPT = (BadRequest, InputError, TooLarge, InternalError)
"""Errors whose record is kept in the rejects topic, when nobody waits for its reply."""


class Publisher:
    """Writes the answers of one service, through whatever producer it is given."""

    def __init__(self, service: str, topics: Topics, limit: int) -> None:
        self.service = service
        self._topics = topics
        self._limit = limit
        self._results = topics.results(service)
        self._encoding = metrics.STAGE_SECONDS.labels(service, "encode")
        self._publishing = metrics.STAGE_SECONDS.labels(service, "publish")

    async def publish(
        self, producer: AIOKafkaProducer, partition: int, slots: Sequence[Slot]
    ) -> None:
        """Return when the answers of all slots are on the broker, in their order.

        Raises what the producer raises; then some of them may be there.
        """
        began = time.perf_counter()
        replies: list[tuple[str, Outgoing]] = []
        results: list[Outgoing] = []
        for slot in slots:
            assert slot.answer is not None
            target = reply_to(slot.record)
            if target is not None and self._topics.may_answer(target):
                replies.append((target, self._fitting(slot.answer, slot.record, reply=True)))
                continue
            results.append(self._fitting(slot.answer, slot.record, reply=False))
            if isinstance(slot.answer, KEPT):
                replies.append((self._topics.rejects, _reject(slot.answer, slot)))
        encoded = time.perf_counter()
        self._encoding.observe(encoded - began)
        written: list[asyncio.Future[Any]] = []
        try:
            for topic, out in replies:
                written.append(await _send(producer, topic, out))
            await self._send_results(producer, partition, results, written)
            await asyncio.gather(*written)
        except BaseException:
            for future in written:
                future.add_done_callback(_seen)
            raise
        self._publishing.observe(time.perf_counter() - encoded)
        trace_written(slots, began, encoded)

    def _fitting(self, answer: Answer | DDError, record: Any, *, reply: bool) -> Outgoing:
        make = messages.outgoing if reply else messages.prediction
        out = make(answer, record, self.service)
        if len(out.value) > self._limit:
            error = TooLarge(
                f"the answer has {len(out.value)} bytes, "
                f"DDSTREAM_MAX_REQUEST_BYTES is {self._limit}"
            )
            return make(error, record, self.service)
        return out

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
        future: asyncio.Future[Any] = await producer.send(
            topic, out.value, out.key, headers=out.headers
        )
    except MessageSizeTooLargeError:
        # Only a reject can be that large: it came compressed. Its answer was given.
        log.exception("a record is too large to be kept in %s", topic)
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
    return future


def reply_to(record: Any) -> str | None:
    """The topic that a request names for its answer."""
    for name, value in record.headers:
        if name == messages.REPLY_TO:
            return str(value, "ascii", "replace") or None
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
            if isinstance(slot.answer, KEPT) and reply_to(slot.record) is None:
                metrics.RECORDS_REJECTED.labels(service, code).inc()


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
