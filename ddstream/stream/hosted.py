"""The services of one worker: loaded from facts on `services`, each with its predict loop."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from ddstream.api.envelope import Answer, Json, warned
from ddstream.api.protocol import Host
from ddstream.api.service import ServiceDefinition
from ddstream.api.stream import HostedService, ServiceRecord, stream_options, with_delivery
from ddstream.background import Background
from ddstream.errors import DDError, ServiceExists, ServiceNotFound, fault
from ddstream.stream.admin import delete_group, delete_topic, ensure_topics, group_lag
from ddstream.stream.predicting.parts import LoopParts
from ddstream.stream.predicting.predict import PredictLoop
from ddstream.stream.writer import Writer

log = logging.getLogger(__name__)

RETIRE_SECONDS = 30.0
"""How long what is left of a deleted service is answered before its topic goes."""
RETRY_SECONDS = (1.0, 5.0, 15.0, 60.0)
"""Waits between attempts to load a service that another worker could load."""


@dataclass(slots=True)
class _Held:
    record: ServiceRecord
    loop: PredictLoop
    running: asyncio.Task[None]


class Hosted:
    """Brings the host to what the table says, one change at a time for each service."""

    def __init__(self, parts: LoopParts, writer: Writer, told: Callable[[], None]) -> None:
        self._parts = parts
        self._writer = writer
        self._told = told
        self._held: dict[str, _Held] = {}
        self._states: dict[str, HostedService] = {}
        self._wanted: dict[str, ServiceRecord] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._background = Background()

    @property
    def host(self) -> Host:
        """The engine."""
        return self._parts.host

    def states(self) -> dict[str, HostedService]:
        """Each service's state and counters, for the heartbeat."""
        told = dict(self._states)
        for name, held in self._held.items():
            version = self._parts.versions.get(name)
            stats = self.host.stats(name)
            refused = held.loop.refused
            told[name] = HostedService(
                state="failed" if refused else "loaded",
                version=version,
                reason=refused,
                stats=stats,
            )
        return told

    def problems(self) -> list[str]:
        """Why services are not served as they should be."""
        failed = [
            f"service {name} failed to load: {state.reason}"
            for name, state in self._states.items()
            if state.state == "failed"
        ]
        return failed + [held.loop.problem for held in self._held.values() if held.loop.problem]

    def notes(self) -> list[str]:
        """Services whose requests all go to other workers: this one only stands by."""
        return [
            f"service {name}: no partition is assigned, other workers have them all"
            for name, held in self._held.items()
            if not held.loop.problem and not held.loop.positions()
        ]

    def loops(self) -> list[PredictLoop]:
        """The predict loops that run."""
        return [held.loop for held in self._held.values()]

    def record(self, name: str) -> ServiceRecord:
        """The newest row of a service. Raises ServiceNotFound."""
        try:
            return self._wanted[name]
        except KeyError:
            raise ServiceNotFound from None

    def wants(self, name: str) -> bool:
        """Whether the service exists, loaded here or not."""
        return name in self._wanted

    def holds(self, name: str) -> bool:
        """Whether the service is loaded here."""
        return name in self._held

    async def on_row(self, name: str, row: Json | None) -> None:
        """A row of `services` is new, changed or gone."""
        if row is None:
            self._wanted.pop(name, None)
        else:
            self._wanted[name] = ServiceRecord.model_validate(row)
        self._background.spawn(self._bring(name))

    async def create(self, name: str, definition: ServiceDefinition, correlation_id: str) -> Answer:
        """Load a service here, make its topics and write its row: then it exists.

        The same correlation id again gets the first answer. Raises DDError; then nothing exists.
        """
        topics = self._parts.topics.of_service(name)
        async with self._locks[name]:
            if there := self._wanted.get(name):
                if there.correlation_id != correlation_id:
                    raise ServiceExists
                return Answer(201)
            definition = with_delivery(definition, self._parts.connection.settings.delivery)
            answer = await self.host.create_service(name, definition)
            record = ServiceRecord(
                name=name,
                definition=definition,
                description=self.host.describe(name),
                version=1,
                correlation_id=correlation_id,
            )
            try:
                await ensure_topics(self._parts.connection, topics)
            except BaseException:
                await self.host.unload(name)
                raise
            await self._write(record)
            self._wanted[name] = record
            await self._hold(record)
        return Answer(201, warned({"version": 1}, list(answer.head.get("warnings", ()))))

    async def delete(self, name: str, clear: str) -> Answer:
        """Answer what is left with 1002, then remove the service, its group and its topic."""
        topic = self._parts.topics.predict(name)
        async with self._locks[name]:
            if name not in self._wanted and not await self._half_deleted(topic):
                raise ServiceNotFound
            self._wanted.pop(name, None)
            await self._writer.write(self._parts.topics.services, name, None)
            await self._retire(name, clear, last=True)
            if not await delete_group(self._parts.connection, topic):
                log.warning("group %s still has members", topic)
            await delete_topic(self._parts.connection, topic)
        return Answer()

    async def retrained(self, name: str) -> int:
        """The service has new weights: write its next version, and return it."""
        record = self.record(name)
        record = record.model_copy(
            update={"version": record.version + 1, "description": self.host.describe(name)}
        )
        self._wanted[name] = record
        await self._write(record)
        # The engine reloaded before it told of the end: this worker is there already.
        if held := self._held.get(name):
            held.record = record
            await self._parts.versions.set(name, record.version)
        return record.version

    async def stop(self) -> None:
        """Drain every predict loop."""
        await self._background.cancel()
        for held in self._held.values():
            held.loop.stop()
        await asyncio.gather(*(held.running for held in self._held.values()))

    async def _bring(self, name: str) -> None:
        async with self._locks[name]:
            wanted, held = self._wanted.get(name), self._held.get(name)
            if wanted is None:
                if held is not None:
                    await self._retire(name, "mem", last=False)
                return
            if held is not None and held.record.correlation_id != wanted.correlation_id:
                await self._retire(name, "mem", last=False)
                held = None
            if held is None:
                await self._load(wanted)
            elif wanted.version > held.record.version:
                await self._reload(held, wanted)

    async def _load(self, record: ServiceRecord) -> None:
        name = record.name
        for attempt in range(1_000_000):
            self._say(name, HostedService(state="loading"))
            try:
                await self.host.load(name, record.definition, create=False)
                break
            except Exception as error:
                reason = str(fault(error, f"loading {name}"))
                log.error("service %s failed to load: %s", name, reason)
                self._say(name, HostedService(state="failed", reason=reason))
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            if self._wanted.get(name) is not record:
                return
        await self._hold(record)

    async def _reload(self, held: _Held, record: ServiceRecord) -> None:
        try:
            await self.host.reload(record.name)
        except DDError as error:
            log.error("service %s failed to reload: %s", record.name, error)
            self._say(record.name, HostedService(state="failed", reason=str(error)))
            return
        held.record = record
        await self._parts.versions.set(record.name, record.version)

    async def _hold(self, record: ServiceRecord) -> None:
        options = stream_options(record.definition)
        loop = PredictLoop(record.name, self._parts, options)
        running = asyncio.create_task(loop.run(), name=f"predict {record.name}")
        self._held[record.name] = _Held(record, loop, running)
        self._states.pop(record.name, None)
        await self._parts.versions.set(record.name, record.version)
        self._told()

    async def _retire(self, name: str, clear: str, *, last: bool) -> None:
        held = self._held.get(name)
        if held is None:
            self._states.pop(name, None)
            return
        held.loop.service_gone()
        try:
            async with asyncio.timeout(RETIRE_SECONDS):
                await (self._answered_all(held.loop) if last else self._caught_up(held.loop))
        except TimeoutError:
            log.warning("%s: not all requests could be answered with 1002", name)
        held.loop.stop()
        await held.running
        del self._held[name]
        await self._parts.versions.set(name, None)
        await self.host.unload(name, clear)
        self._told()

    async def _caught_up(self, loop: PredictLoop) -> None:
        while not await loop.caught_up():  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(0.1)

    async def _answered_all(self, loop: PredictLoop) -> None:
        ends = await loop.ends()
        lag = self._parts.connection, loop.topic, ends
        while await group_lag(*lag):  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(0.1)

    async def _half_deleted(self, topic: str) -> bool:
        # A worker may have died between the tombstone and the topic's deletion.
        async with self._parts.connection.admin() as admin:
            return topic in await admin.list_topics()

    async def _write(self, record: ServiceRecord) -> None:
        row = record.model_dump(by_alias=True)
        await self._writer.write(self._parts.topics.services, record.name, row)

    def _say(self, name: str, state: HostedService) -> None:
        self._states[name] = state
        self._told()
