"""Writing answers: results in the partition of their request, replies, and rejects.

Answers of one partition are written as they pile up: while the broker acknowledges some, the
next ones gather, so that there is no timer and no record waits alone.
"""

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
from ddstream.stream.connection import TRANSIENT
from ddstream.stream.messages import Outgoing
from ddstream.stream.partition import Slot
from ddstream.stream.topics import Topics

log = logging.getLogger(__name__)

KEPT = (BadRequest, InputError, TooLarge, InternalError)
"""Errors whose record is kept in the rejects topic, when nobody waits for its reply."""
RETRY_SECONDS = 5.0


class Publisher:
    """Writes the answers of one service; at least once, retrying for as long as it takes."""

    def __init__(
        self, service: str, topics: Topics, producer: AIOKafkaProducer, limit: int
    ) -> None:
        self._service = service
        self._topics = topics
        self._producer = producer
        self._limit = limit
        self._results = topics.results(service)

    async def publish(self, partition: int, slots: Sequence[Slot]) -> None:
        """Return when the answers of all slots are on the broker, in their order."""
        delay = 0.1
        while True:
            try:
                await self._write(partition, slots)
                return
            except TRANSIENT as error:
                log.warning("writing answers of %s: %s; trying again", self._service, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_SECONDS)

    async def _write(self, partition: int, slots: Sequence[Slot]) -> None:
        results: list[Outgoing] = []
        written: list[asyncio.Future[Any]] = []
        for slot in slots:
            assert slot.answer is not None
            target = reply_to(slot.record)
            if target is not None and self._topics.may_answer(target):
                out = self._fitting(slot.answer, slot.record, reply=True)
                written.append(await self._send(target, out))
                continue
            results.append(self._fitting(slot.answer, slot.record, reply=False))
            if isinstance(slot.answer, KEPT):
                reject = _reject(slot.answer, slot.record)
                written.append(await self._send(self._topics.rejects, reject))
                code = slot.answer.dd_code or slot.answer.code
                metrics.RECORDS_REJECTED.labels(self._service, code).inc()
        written += await self._send_results(partition, results)
        for future in written:
            await future

    def _fitting(self, answer: Answer | DDError, record: Any, *, reply: bool) -> Outgoing:
        make = messages.outgoing if reply else messages.prediction
        out = make(answer, record, self._service)
        if len(out.value) > self._limit:
            error = TooLarge(
                f"the answer has {len(out.value)} bytes, "
                f"DDSTREAM_MAX_REQUEST_BYTES is {self._limit}"
            )
            return make(error, record, self._service)
        return out

    async def _send(self, topic: str, out: Outgoing) -> asyncio.Future[Any]:
        try:
            future: asyncio.Future[Any] = await self._producer.send(
                topic, out.value, out.key, headers=out.headers
            )
        except MessageSizeTooLargeError:
            # Only a reject can be that large: it came compressed. Its answer was given.
            log.exception("a record is too large to be kept in %s", topic)
            future = asyncio.get_running_loop().create_future()
            future.set_result(None)
        return future

    async def _send_results(
        self, partition: int, results: Sequence[Outgoing]
    ) -> list[asyncio.Future[Any]]:
        written = []
        batch = self._producer.create_batch()
        now = int(time.time() * 1000)
        for out in results:
            added = batch.append(key=out.key, value=out.value, timestamp=now, headers=out.headers)
            if added is None:
                written.append(await self._send_batch(batch, partition))
                batch = self._producer.create_batch()
                batch.append(key=out.key, value=out.value, timestamp=now, headers=out.headers)
        if batch.record_count():
            written.append(await self._send_batch(batch, partition))
        return written

    async def _send_batch(self, batch: Any, partition: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await self._producer.send_batch(
            batch, self._results, partition=partition
        )
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


def _reject(error: DDError, record: Any) -> Outgoing:
    status = error.status()
    headers = [
        *record.headers,
        ("dd-error-code", str(error.dd_code or error.code).encode()),
        ("dd-error-message", str(status.get("dd_msg", error.msg)).encode()[:1024]),
        ("dd-original-topic", record.topic.encode()),
        ("dd-original-partition", b"%d" % record.partition),
        ("dd-original-offset", b"%d" % record.offset),
        ("dd-original-timestamp", b"%d" % record.timestamp),
    ]
    return Outgoing(record.key, record.value, headers)
