"""What a bridge stands on: its tables, its replies, its writer, and how it asks a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from ddstream import metrics
from ddstream.api.envelope import Answer, Json, dumps
from ddstream.api.stream import WorkerRecord
from ddstream.background import Background
from ddstream.errors import TimedOut, Unavailable
from ddstream.stream import messages
from ddstream.stream.admin import delete_topic, ensure_topics
from ddstream.stream.connection import TRANSIENT, Connection, Told, persist, started, stopped
from ddstream.stream.pulse import Pulse
from ddstream.stream.refusals import Refused
from ddstream.stream.replies import Replies
from ddstream.stream.table import Table
from ddstream.stream.topics import Topics
from ddstream.stream.trainings.jobrows import newer
from ddstream.stream.worker import new_id
from ddstream.stream.writer import Writer
from ddstream.telemetry.origin import TRACEPARENT, origin
from ddstream.telemetry.spans import spans

log = logging.getLogger(__name__)

LIVE_SECONDS = 15.0
"""A worker whose last heartbeat is older is taken for dead."""
NO_WORKER_SECONDS = 60.0


class Bridge:
    """One bridge's place on the cluster; `async with` starts it, waiting for the broker beside."""

    def __init__(self, connection: Connection) -> None:
        self.id = new_id()
        self.settings = connection.settings
        self.topics = Topics(connection.settings)
        self.services = Table(connection, self.topics.services)
        self.jobs = Table(connection, self.topics.jobs, accepts=newer)
        self.workers = Table(connection, self.topics.workers)
        self._connection = connection
        self._replies = Replies(connection, self.topics.replies(self.id))
        self._pulse = Pulse(connection)
        self._background = Background()
        self._started = AsyncExitStack()
        self._refused = asyncio.Event()
        self._problem = "starting: waiting for the broker"
        self._alive = time.monotonic()

    async def __aenter__(self) -> Self:
        self._starting = self._background.spawn(self._start())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._background.cancel()
        await self._started.aclose()

    async def ready(self) -> None:
        """Return when requests can be served. Raises TimedOut after the request timeout, and
        Unavailable at once if the cluster does not let us start."""
        if not self._problem:
            return
        refused = asyncio.ensure_future(self._refused.wait())
        try:
            await asyncio.wait(
                {self._starting, refused},
                timeout=self.settings.request_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            refused.cancel()
        if self._starting.done():
            self._starting.result()
        elif self._refused.is_set():
            raise Unavailable(self._problem)
        else:
            raise TimedOut(self._problem)

    async def health(self) -> Sequence[str]:
        """Reasons why requests cannot be served; empty when they can. It waits for nothing."""
        if self._problem:
            return [self._problem]
        tables = (self.services, self.jobs, self.workers)
        told = [self._pulse.problem, self._replies.problem, *(table.problem for table in tables)]
        return [problem for problem in told if problem]

    def notes(self) -> list[str]:
        """What an operator may want to know: requests wait while no worker lives."""
        if self._problem or self.live():
            return []
        return ["no live worker: requests wait for one"]

    async def command(self, topic: str, key: str, command: Any) -> Answer:
        """Have a worker do a command, and return its answer or raise its error."""
        return await self.ask(topic, key, dumps(command.model_dump(by_alias=True)))

    async def ask(
        self, topic: str, key: str | None, value: bytes, extra: messages.Headers = ()
    ) -> Answer:
        """Write a request and wait. Raises what the answer carries, TimedOut or Unavailable."""
        deadline = time.time() + self.settings.request_timeout
        span = spans.begin(f"send {topic}", origin().traceparent, "producer")
        context = ((TRACEPARENT, span.traceparent.encode()),) if span.traceparent else ()
        with self._replies.open(deadline) as reply, metrics.WAITING_REQUESTS.track_inprogress():
            try:
                await self._writer.ask(topic, key, value, (*reply.headers, *context, *extra))
            except Unavailable as error:
                span.end(error=error.detail)
                cause = error.__cause__ or error
                raise self._connection.refused(cause, "write to") or error from cause
            span.end()
            return await reply.wait()

    async def see(self, table: Table, condition: Callable[[Mapping[str, Json]], bool]) -> None:
        """Wait until this bridge's own table shows what a worker has answered."""
        try:
            async with asyncio.timeout(self.settings.request_timeout):
                await table.until(condition)
        except TimeoutError as error:
            raise TimedOut(f"the table {table.topic} does not show the change") from error

    def live(self, service: str = "") -> list[WorkerRecord]:
        """Workers whose heart beats; with `service`, those that have it."""
        workers = map(WorkerRecord.model_validate, self.workers.rows.values())
        now = time.time()
        return [
            worker
            for worker in workers
            if now - worker.time < LIVE_SECONDS and (not service or service in worker.services)
        ]

    def unserved(self, service: str) -> str:
        """Why no live worker can serve a service, though some try; empty if one may."""
        states = [worker.services[service] for worker in self.live(service)]
        failed = [state.reason for state in states if state.state == "failed"]
        return failed[0] if failed and len(failed) == len(states) else ""

    async def _start(self) -> None:
        await self._connection.wait(self._doing("waiting for the broker"))
        told = self._doing("making topics")
        topics = [*self.topics.fixed(), self.topics.of_bridge(self.id)]
        await persist(lambda: ensure_topics(self._connection, topics), told)
        self._refused.clear()
        self._started.push_async_callback(self._remove_replies)
        producer = self._connection.producer()
        self._started.push_async_callback(stopped, producer)
        await persist(lambda: started(producer))
        self._writer = Writer(producer, self.topics)
        self._problem = "starting: reading tables"
        for table in (self.services, self.jobs, self.workers):
            self._started.push_async_callback(table.stop)
            await table.start()
        for table in (self.services, self.jobs, self.workers):
            await table.caught_up.wait()
        self._started.push_async_callback(self._replies.stop)
        await self._replies.start()
        self._problem = ""
        self._pulse.start()
        self._started.push_async_callback(self._pulse.stop)
        self._background.spawn(self._watch())

    def _doing(self, what: str) -> Told:
        """Say in the readiness what is being done, and why it takes so long."""
        self._problem = f"starting: {what}"
        self._refused.clear()

        def told(error: Exception) -> None:
            self._problem = f"starting: {what}: {error}"
            if isinstance(error, Refused):
                self._refused.set()

        return told

    async def _remove_replies(self) -> None:
        try:
            await delete_topic(self._connection, self._replies.topic)
        except TRANSIENT as error:
            log.warning("the reply topic %s stays: %s", self._replies.topic, error)

    async def _watch(self) -> None:
        """Tell who waits when there has been no live worker for a minute."""
        while True:
            if self.live():
                self._alive = time.monotonic()
            elif time.monotonic() - self._alive > NO_WORKER_SECONDS and len(self._replies):
                self._replies.fail("no live worker for 60 s")
            await asyncio.sleep(1.0)
