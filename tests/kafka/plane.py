"""What the tests of the streaming plane stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ddstream.api.protocol import Host
from ddstream.api.service import ServiceDefinition
from ddstream.settings import Settings
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection, started, stopped
from ddstream.stream.topics import Topics
from ddstream.stream.worker import Worker

ECHO = ServiceDefinition(mllib="echo")
PATIENCE = 60.0


async def eventually(check: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Wait until a condition of the outside world holds; it has no event to wait for."""
    async with asyncio.timeout(PATIENCE):
        while True:
            result = check()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.02)


class Plane:
    """One prefix on the broker, and everything that a test runs on it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topics = Topics(settings)
        self.connection = Connection(settings)
        self._stack = AsyncExitStack()
        self._running: dict[Worker, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        self.producer: AIOKafkaProducer = self.connection.producer(headroom=1 << 20)
        await started(self.producer)
        self._stack.push_async_callback(stopped, self.producer)
        return self

    async def __aexit__(self, *error: object) -> None:
        for worker in list(self._running):
            await self.drain(worker)
        await self._stack.aclose()

    async def worker(self, host: Host) -> Worker:
        """A worker that serves."""
        worker = Worker(host, self.connection)
        self._running[worker] = asyncio.create_task(worker.run())
        await eventually(lambda: self._well(worker))
        return worker

    async def drain(self, worker: Worker) -> None:
        """Stop a worker as SIGTERM does."""
        worker.stop()
        await self._running.pop(worker)

    async def bridge(self) -> KafkaApi:
        """A bridge that is ready."""
        api = await self._stack.enter_async_context(KafkaApi(self.connection))
        await api.ready()
        return api

    async def send(
        self,
        service: str,
        value: bytes | None,
        headers: Mapping[str, bytes] | None = None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> tuple[int, int]:
        """Produce a request; its partition and offset."""
        sent = await self.producer.send_and_wait(
            self.topics.predict(service),
            value,
            key,
            partition,
            headers=list((headers or {}).items()),
        )
        return sent.partition, sent.offset

    async def read(self, topic: str, count: int, *, seconds: float = 30.0) -> list[Any]:
        """The first records of a topic, from its start, in the order of each partition."""
        consumer: AIOKafkaConsumer = self.connection.consumer([topic])
        records: list[Any] = []
        await started(consumer)
        try:
            async with asyncio.timeout(seconds):
                while len(records) < count:
                    for polled in (await consumer.getmany(timeout_ms=200)).values():
                        records += polled
        except TimeoutError:
            raise AssertionError(f"{len(records)} of {count} records on {topic}") from None
        finally:
            await stopped(consumer)
        return records

    async def results(self, service: str, count: int) -> list[Any]:
        """The first answers of a service."""
        return await self.read(self.topics.results(service), count)

    async def ends(self, topic: str) -> int:
        """How many records a topic has had."""
        consumer: AIOKafkaConsumer = self.connection.consumer()
        await started(consumer)
        try:
            numbers = await self.producer.partitions_for(topic)
            ends = await consumer.end_offsets([TopicPartition(topic, n) for n in numbers])
            return sum(ends.values())
        finally:
            await stopped(consumer)

    async def committed(self, service: str) -> dict[int, int]:
        """The group's committed offsets by partition."""
        async with self.connection.admin() as admin:
            offsets = await admin.list_consumer_group_offsets(self.topics.predict(service))
        return {tp.partition: offset.offset for tp, offset in offsets.items()}

    async def _well(self, worker: Worker) -> bool:
        return not await worker.health()


def body(record: Any) -> Any:
    """A record's JSON."""
    return orjson.loads(record.value)


def headers(record: Any) -> dict[str, bytes]:
    """A record's headers."""
    return dict(record.headers)


def uris(records: Sequence[Any]) -> list[str]:
    """The uris of all predictions."""
    return [p["uri"] for record in records for p in body(record)["body"]["predictions"]]
