"""Cases f and g: what the streaming plane costs without a model, beside bare aiokafka."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ddstream.api.predict import PredictRequest
from ddstream.api.service import ServiceDefinition
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from examples.digits.streaming import Topics
from tests.bench.echoes import ASKED, REPLIED, REQUESTS, RESULTS
from tests.bench.ground import Ground
from tests.bench.result import Latencies, Result

SERVICE = "echo"
RECORD = b"x" * 200
HEADERS = [("content-type", b"application/octet-stream"), ("dd-uri", b"record")]
WARM = 2000
PATIENCE = 60.0
"""Seconds in which all echoes must come."""


def echo(ground: Ground) -> Result:
    """(f) Records a second through the whole plane, against bare consume and produce."""
    count = ground.scaled(60_000)
    ours, theirs, lost = [], [], 0
    asyncio.run(_make_topics(ground))
    with (
        ground.running(*_echo("worker", ground), ready=PID) as worker,
        ground.running(*_echo("stream", ground), ready=PID) as stream,
    ):
        asyncio.run(_create(ground))
        product, bare = Topics.of(SERVICE), Topics(REQUESTS, RESULTS)
        for size in (WARM, *[count] * ground.rounds):
            mine = asyncio.run(_echoed(ground, product, int(worker), size))
            other = asyncio.run(_echoed(ground, bare, int(stream), size))
            ours.append(size / mine[0])
            theirs.append(size / other[0])
            lost += mine[1]
    what = "Kafka, echo of 200 B without a model"
    return Result("f", what, "records/s", ours[1:], theirs[1:], goal=0.4, lost=lost)


def request_reply(ground: Ground) -> Result:
    """(g) A request and its reply over Kafka, one at a time, against a bare aiokafka echo."""
    count = ground.scaled(900)
    ours, theirs = [], []
    asyncio.run(_make_topics(ground))
    with (
        ground.running(*_echo("worker", ground), ready=PID),
        ground.running(*_echo("reply", ground), ready=PID),
    ):
        for _ in range(ground.rounds):
            ours.append(asyncio.run(_asked(ground, count)).percentile(0.5))
            theirs.append(asyncio.run(_bare_asked(ground, count)).percentile(0.5))
    what = "Kafka, request and reply, p50"
    return Result("g", what, "ms", ours, theirs, goal=3.0, better="lower")


PID = r"pid (\d+)"


def _echo(kind: str, ground: Ground) -> tuple[str, str, str, str]:
    return kind, "tests.bench.echoes", kind, ground.bootstrap


async def _make_topics(ground: Ground) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=ground.bootstrap)
    await admin.start()
    try:
        missing = {REQUESTS, RESULTS, ASKED, REPLIED} - set(await admin.list_topics())
        parts = {ASKED: 1, REPLIED: 1}
        wanted = [
            NewTopic(name, parts.get(name, ground.settings.partitions), 1) for name in missing
        ]
        if wanted:
            await admin.create_topics(wanted)
    finally:
        await admin.close()


async def _create(ground: Ground) -> None:
    async with KafkaApi(Connection(ground.settings)) as api:
        await api.create_service(SERVICE, ServiceDefinition(mllib="echo"))


async def _echoed(ground: Ground, topics: Topics, pid: int, count: int) -> tuple[float, int]:
    """Seconds that a process takes for a backlog, and how many records it lost.

    It is stopped while the backlog is made, so that producing costs it nothing.
    """
    async with _counting(ground, topics.results) as end:
        before = await end()
        os.kill(pid, signal.SIGSTOP)
        try:
            await _backlog(ground, topics.requests, count)
        finally:
            os.kill(pid, signal.SIGCONT)
        began = time.perf_counter()
        while (done := await end() - before) < count:
            if time.perf_counter() - began > PATIENCE:
                break
            await asyncio.sleep(0.02)
        return time.perf_counter() - began, count - min(done, count)


@asynccontextmanager
async def _counting(ground: Ground, topic: str) -> AsyncIterator[_End]:
    async with AIOKafkaConsumer(bootstrap_servers=ground.bootstrap) as consumer:
        yield _End(consumer, topic, ground.settings.partitions)


class _End:
    """Counts the records of a topic without reading them."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, partitions: int) -> None:
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]

    async def __call__(self) -> int:
        return sum((await self._consumer.end_offsets(self._partitions)).values())


async def _backlog(ground: Ground, topic: str, count: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=ground.bootstrap) as producer:
        written = [await producer.send(topic, RECORD, headers=HEADERS) for _ in range(count)]
        await asyncio.gather(*written)


async def _asked(ground: Ground, count: int) -> Latencies:
    latencies = Latencies()
    request = PredictRequest(service=SERVICE, data=["record"])
    async with KafkaApi(Connection(ground.settings)) as api:
        await api.ready()
        if SERVICE not in {each["name"] for each in (await api.info()).head["services"]}:
            await api.create_service(SERVICE, ServiceDefinition(mllib="echo"))
        for _ in range(count):
            began = time.perf_counter()
            await api.predict(request)
            latencies.seconds.append(time.perf_counter() - began)
    return latencies


async def _bare_asked(ground: Ground, count: int) -> Latencies:
    latencies = Latencies()
    async with (
        AIOKafkaProducer(bootstrap_servers=ground.bootstrap, acks="all") as producer,
        AIOKafkaConsumer(REPLIED, bootstrap_servers=ground.bootstrap) as consumer,
    ):
        await consumer.seek_to_end()
        for _ in range(count):
            began = time.perf_counter()
            await producer.send(ASKED, RECORD, headers=HEADERS)
            await consumer.getone()
            latencies.seconds.append(time.perf_counter() - began)
    return latencies
