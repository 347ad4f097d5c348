"""The worker: a host behind topics. It takes, answers, tells how it is, and drains when asked."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

import orjson

from ddstream.api.envelope import Answer
from ddstream.api.protocol import Host
from ddstream.api.stream import ControlCommand, WorkerRecord
from ddstream.background import Background
from ddstream.connectors.remote.claims import claim_store
from ddstream.errors import BadRequest, fault
from ddstream.stream import messages
from ddstream.stream.admin import check_groups, ensure_topics
from ddstream.stream.connection import Connection, Told, persist, started, stopped
from ddstream.stream.control import ControlPlane
from ddstream.stream.hosted import Hosted
from ddstream.stream.predicting.attempts import Quarantine
from ddstream.stream.predicting.lag import LagMonitor
from ddstream.stream.predicting.parts import LoopParts
from ddstream.stream.predicting.versions import Versions
from ddstream.stream.pulse import Pulse
from ddstream.stream.table import Table
from ddstream.stream.topics import Topics
from ddstream.stream.trainings.jobrows import newer
from ddstream.stream.trainings.trainings import KafkaTrainings, Tables
from ddstream.stream.writer import Writer

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0


def new_id() -> str:
    """An id for a worker or a bridge: where it runs, and a part that no restart repeats."""
    host = socket.gethostname().split(".")[0].lower()
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


def end_process(reason: str) -> None:
    """End at once, without a commit: another worker takes what is unfinished, and counts."""
    log.critical("this process cannot be trusted any more and ends: %s", reason)
    logging.shutdown()
    os._exit(70)


class Worker:
    """`run` serves until `stop`; it waits for the broker, and never ends for its absence."""

    def __init__(
        self,
        host: Host,
        connection: Connection,
        *,
        device: str = "cpu",
        abandon: Callable[[str], None] | None = None,
    ) -> None:
        self.id = new_id()
        self.address = ""
        self._host = host
        self._connection = connection
        self._topics = Topics(connection.settings)
        self._device = device
        self._abandon = abandon or end_process
        self._started = time.time()
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._background = Background()
        self._pulse = Pulse(connection)
        self._claims = claim_store(connection.settings)
        self._problem = "starting: waiting for the broker"

    async def run(self) -> None:
        """Serve until `stop`, then drain: answer what was taken, commit, leave the groups."""
        starting = asyncio.ensure_future(self._start())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        await starting
        await stopping
        await self._drain()

    def stop(self) -> None:
        """Take nothing more; `run` returns when it is drained."""
        self._problem = "draining"
        self._stopping.set()

    async def health(self) -> list[str]:
        """Reasons why it cannot serve; empty when it can."""
        told = [self._host.fatal(), *await self._host.health(), self._problem]
        if not self._problem:
            tables = (table.problem for table in self._tables)
            told += [self._pulse.problem, self._control.problem, *tables, *self._hosted.problems()]
        return [problem for problem in told if problem]

    def notes(self) -> list[str]:
        """What an operator may want to know, and no reason not to be ready."""
        return [] if self._problem else self._hosted.notes()

    async def _start(self) -> None:
        await self._connection.wait(self._starting("waiting for the broker"))
        told = self._starting("making topics")
        await persist(lambda: ensure_topics(self._connection, self._topics.fixed()), told)
        groups = (self._topics.control, self._topics.train)
        await persist(lambda: check_groups(self._connection, groups), told)
        producer = self._connection.producer(headroom=1 << 16)
        await persist(lambda: started(producer))
        self._writer = Writer(producer, self._topics)
        parts = LoopParts(
            connection=self._connection,
            topics=self._topics,
            host=self._host,
            producer=producer,
            versions=Versions(),
            quarantine=Quarantine(self._host),
            abandon=self._abandon,
            claims=self._claims,
        )
        self._hosted = Hosted(parts, self._writer, self._news.set)
        self._lag = LagMonitor(self._hosted.loops)
        services = Table(self._connection, self._topics.services, self._hosted.on_row)
        jobs = Table(self._connection, self._topics.jobs, accepts=newer)
        workers = Table(self._connection, self._topics.workers)
        self._tables = (services, jobs, workers)
        self._trainings = KafkaTrainings(self.id, self._hosted, Tables(*self._tables), self._writer)
        for table in self._tables:
            await table.start()
        self._problem = "starting: reading tables"
        for table in self._tables:
            await table.caught_up.wait()
        self._trainings.start()
        handles = {"control": self._on_control, "train": self._trainings.handle}
        self._control = ControlPlane(self._connection, self._topics, handles, self._trainings)
        await persist(self._control.start)
        self._background.spawn(self._beat())
        self._pulse.start()
        self._lag.start()
        self._problem = ""
        log.info("worker %s serves %s", self.id, self._connection.settings.bootstrap)

    def _starting(self, doing: str) -> Told:
        """Say in the readiness what is being done, and why it takes so long."""
        self._problem = f"starting: {doing}"

        def told(error: Exception) -> None:
            if self._problem != "draining":
                self._problem = f"starting: {doing}: {error}"

        return told

    async def _drain(self) -> None:
        log.info("worker %s drains", self.id)
        await self._control.stop()
        await self._trainings.stop()
        await self._hosted.stop()
        await self._lag.stop()
        await self._pulse.stop()
        await self._background.cancel()
        for table in self._tables:
            await table.stop()
        try:
            async with asyncio.timeout(10):
                await self._writer.write(self._topics.workers, self.id, None)
        except TimeoutError:
            log.warning("the broker is away: the heartbeat of %s stays", self.id)
        await stopped(self._writer.producer)
        if self._claims is not None:
            await self._claims.close()
        log.info("worker %s is drained", self.id)

    async def _on_control(self, record: Any) -> None:
        service = (record.key or b"").decode(errors="replace")
        try:
            answer = await self._do(record)
        except Exception as error:
            await self._writer.reply(record, service, fault(error, "a control command"))
            return
        await self._writer.reply(record, service, answer)

    async def _do(self, record: Any) -> Answer:
        headers = dict(record.headers)
        correlation = messages.text(headers, messages.CORRELATION) or messages.source(record)
        try:
            command = ControlCommand.model_validate(orjson.loads(record.value))
        except ValueError as error:
            raise BadRequest(f"no control command: {error}") from error
        if command.verb == "create" and command.definition is not None:
            return await self._hosted.create(command.service, command.definition, correlation)
        answer = await self._hosted.delete(command.service, command.clear)
        await self._trainings.forget(command.service)
        return answer

    async def _beat(self) -> None:
        while True:
            self._news.clear()
            record = WorkerRecord(
                worker=self.id,
                time=time.time(),
                started=self._started,
                address=self.address,
                device=self._device,
                services=self._hosted.states(),
            )
            await self._writer.write(self._topics.workers, self.id, record.model_dump())
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue
