"""What a scenario stands on: brokers, workers, a service, a producer; and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from ddstream.api.service import ServiceDefinition
from ddstream.settings import Settings
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped
from ddstream.stream.topics import Topics
from tests.chaos import ledger
from tests.chaos.cluster import Cluster
from tests.chaos.feeder import Feeder
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Figures, Request, Result, Verdict, Violated
from tests.chaos.model import Rules

SERVICE = "chaos"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scenario asks for. `folder` keeps the logs; `stream` is the service's own."""

    folder: Path
    nodes: int = 1
    workers: int = 3
    supervised: bool = False
    stream: Mapping[str, Any] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    max_request_bytes: int = 1 << 20

    @property
    def exactly_once(self) -> bool:
        """The service's delivery."""
        return self.stream.get("delivery") == "exactly_once"


@dataclass(slots=True)
class Ground:
    """The parts of one running scenario."""

    plan: Plan
    cluster: Cluster
    connection: Connection
    fleet: Fleet
    feeder: Feeder

    @property
    def topics(self) -> Topics:
        """Names of the topics."""
        return Topics(self.connection.settings)

    @property
    def repository(self) -> Path:
        """The model's folder, with its rules."""
        return self.plan.folder / "model"

    def tell(self, what: str) -> None:
        """A line with its time in the run's own log, beside those of its processes."""
        with (self.plan.folder / "run.log").open("a") as log:
            log.write(f"{datetime.now():%H:%M:%S.%f} {what}\n")

    async def lag(self) -> int:
        """Requests that the group has not committed."""
        topic = self.topics.predict(SERVICE)
        consumer: AIOKafkaConsumer = self.connection.consumer()
        await started(consumer)
        try:
            tps = [TopicPartition(topic, n) for n in range(self.connection.settings.partitions)]
            ends = await consumer.end_offsets(tps)
        finally:
            await stopped(consumer)
        async with self.connection.admin() as admin:
            committed = await admin.list_consumer_group_offsets(topic)
        return sum(
            end - (committed[tp].offset if tp in committed else 0) for tp, end in ends.items()
        )

    async def finished(self, seconds: float) -> float:
        """Wait until every request is answered and committed; the seconds that it took.

        Raises Violated if it does not come to that in time.
        """
        began = time.monotonic()
        lag = -1
        while time.monotonic() - began < seconds:
            try:
                async with asyncio.timeout(20):
                    lag = await self.lag()
            except TRANSIENT:
                lag = -1
            if lag == 0:
                return time.monotonic() - began
            await asyncio.sleep(0.2)
        raise Violated([f"lag {lag} after {seconds:.0f} s", *self.fleet.deaths], {"lag": lag})

    async def asked(self) -> dict[int, list[Request]]:
        """All requests on the topic."""
        return await ledger.requests(self.connection, self.topics.predict(SERVICE))

    async def answered(self) -> dict[int, list[Result]]:
        """All answers on the topic."""
        return await ledger.results(self.connection, self.topics.results(SERVICE))

    async def verdict(self) -> Verdict:
        """Whether everything was answered as it must be; also that no worker died by itself."""
        asked = await self.asked()
        verdict = ledger.judge(asked, await self.answered(), exactly_once=self.plan.exactly_once)
        there = {request.number for records in asked.values() for request in records}
        if there != set(range(self.feeder.sent)):
            verdict.problems.append(
                f"{self.feeder.sent - len(there)} requests are not on the topic"
            )
        if not self.plan.supervised:
            verdict.problems += self.fleet.deaths
        return verdict


@asynccontextmanager
async def ground(plan: Plan) -> AsyncIterator[Ground]:
    """Everything started and the service made; all of it ends with `async with`."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    plan.rules.write(plan.folder / "model")
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(plan.folder, plan.nodes))
        settings = Settings(
            bootstrap=cluster.bootstrap,
            prefix="chaos",
            partitions=6,
            replication=plan.nodes,
            roots=(plan.folder,),
            max_request_bytes=plan.max_request_bytes,
            request_timeout=90,
        )
        connection = Connection(settings)
        fleet = Fleet(settings, plan.folder, plan.workers, supervised=plan.supervised)
        await stack.enter_async_context(fleet)
        async with KafkaApi(connection) as api:
            await api.ready()
            await api.create_service(SERVICE, definition(plan))
        topic = Topics(settings).predict(SERVICE)
        feeder = await stack.enter_async_context(Feeder(settings, topic))
        yield Ground(plan, cluster, connection, fleet, feeder)


def definition(plan: Plan) -> ServiceDefinition:
    """The service of the rules in the plan's folder."""
    return ServiceDefinition.model_validate(
        {
            "mllib": "rules",
            "model": {"repository": str(plan.folder / "model")},
            "parameters": {
                "input": {"connector": "record"},
                "mllib": {"net": {"test_batch_size": 16}},
                "stream": dict(plan.stream),
            },
        }
    )


def conclude(verdict: Verdict, figures: Figures) -> Figures:
    """The figures of a run that kept every promise. Raises Violated."""
    figures = {**figures, **verdict.figures()}
    if verdict.problems:
        raise Violated(verdict.problems, figures)
    return figures


async def until(
    condition: Callable[[], Awaitable[bool]], seconds: float, *, every: float = 0.2
) -> float:
    """The seconds until a condition holds; infinity if it does not in time."""
    began = time.monotonic()
    while not await condition():
        if time.monotonic() - began > seconds:
            return float("inf")
        await asyncio.sleep(every)
    return time.monotonic() - began
