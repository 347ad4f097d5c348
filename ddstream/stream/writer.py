"""Writing single records reliably: commands, rows, replies."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from ddstream.api.envelope import Answer, dumps
from ddstream.errors import DDError, Unavailable
from ddstream.stream import messages
from ddstream.stream.connection import TRANSIENT, topic_exists
from ddstream.stream.messages import Headers
from ddstream.stream.predicting.publisher import reply_to
from ddstream.stream.topics import Topics

log = logging.getLogger(__name__)

KEYS_BYTES = 1024
"""Room in a record for its key and its headers."""


class Writer:
    """One producer for everything that is not a prediction."""

    def __init__(self, producer: AIOKafkaProducer, topics: Topics) -> None:
        self.producer = producer
        self._topics = topics

    @property
    def room(self) -> int:
        """Most bytes of a value that is written."""
        return self._topics.record_bytes - KEYS_BYTES

    async def write(self, topic: str, key: str, value: Any, headers: Headers = ()) -> None:
        """Write JSON (or a tombstone, None) and return when the broker has it; retries for ever."""
        await self._retrying(topic, key, value, headers, None)

    async def write_beside(self, topic: str, group: str, key: str, value: Any) -> None:
        """Write so that all keys of a `group` share a partition, and so an order."""
        partitions = await self.producer.partitions_for(topic)
        number = (murmur2(group.encode()) & 0x7FFFFFFF) % len(partitions)
        await self._retrying(topic, key, value, (), number)

    async def ask(self, topic: str, key: str | None, value: bytes, headers: Headers) -> None:
        """Write a request once. Raises Unavailable when the broker does not take it."""
        raw_key = None if key is None else key.encode()
        try:
            future = await self.producer.send(topic, value, raw_key, headers=list(headers))
            await future
        except TRANSIENT as error:
            raise Unavailable(f"Kafka did not take the request: {error}") from error

    async def reply(self, record: Any, service: str, answer: Answer | DDError) -> None:
        """Answer a command where it asked to be answered; a topic that is gone is passed over."""
        target = reply_to(record)
        if target is None or not self._topics.may_answer(target):
            return
        if not await topic_exists(self.producer.client, [target]):
            log.warning("reply topic %s does not exist", target)
            return
        out = messages.outgoing(answer, record, service)
        future = await self.producer.send(target, out.value, out.key, headers=list(out.headers))
        await future

    async def _retrying(
        self, topic: str, key: str, value: Any, headers: Headers, partition: int | None
    ) -> None:
        content = None if value is None else dumps(value)
        delay = 0.1
        while True:
            try:
                future = await self.producer.send(
                    topic, content, key.encode(), partition, headers=list(headers)
                )
                await future
                return
            except TRANSIENT as error:
                log.warning("writing to %s: %s; trying again", topic, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)
