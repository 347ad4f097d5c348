"""KafkaApi: the eight verbs over topics, for bridges and for Python. It loads no model."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from ddstream import __version__
from ddstream.api.envelope import Answer, Json, dumps
from ddstream.api.job import (
    History,
    JobRecord,
    JobStatus,
    blocking_answer,
    job_answer,
    job_line,
    stopped_answer,
)
from ddstream.api.predict import PredictRequest
from ddstream.api.service import ServiceDefinition, clear_mode, described, service_name
from ddstream.api.stream import (
    ControlCommand,
    JobRow,
    ServiceRecord,
    TrainCommand,
    WorkerRecord,
)
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.background import Background
from ddstream.connectors.encode import request_body
from ddstream.errors import (
    JobNotFound,
    NoData,
    ServiceExists,
    ServiceNotFound,
    TimedOut,
    TooLarge,
)
from ddstream.stream import messages
from ddstream.stream.admin import delete_topic, ensure_topics
from ddstream.stream.connection import TRANSIENT, Connection
from ddstream.stream.replies import Replies
from ddstream.stream.stats import summed
from ddstream.stream.table import Table
from ddstream.stream.topics import Topics
from ddstream.stream.trainings import job_key
from ddstream.stream.worker import new_id
from ddstream.stream.writer import Writer

log = logging.getLogger(__name__)

LIVE_SECONDS = 15.0
"""A worker whose last heartbeat is older is taken for dead."""
NO_WORKER_SECONDS = 60.0


class KafkaApi:
    """Implements Api for workers behind topics: `async with KafkaApi(connection) as api`."""

    def __init__(self, connection: Connection) -> None:
        self.id = new_id()
        self._connection = connection
        self._settings = connection.settings
        self._topics = Topics(connection.settings)
        self._services = Table(connection, self._topics.services)
        self._jobs = Table(connection, self._topics.jobs)
        self._workers = Table(connection, self._topics.workers)
        self._replies = Replies(connection, self._topics.replies(self.id))
        self._background = Background()
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
        started = self._starting.done() and not self._starting.cancelled()
        await self._background.cancel()
        if not started:
            return
        await self._replies.stop()
        for table in (self._services, self._jobs, self._workers):
            await table.stop()
        try:
            await self._writer.producer.stop()
            await delete_topic(self._connection, self._replies.topic)
        except TRANSIENT as error:
            log.warning("the reply topic %s stays: %s", self._replies.topic, error)

    async def ready(self) -> None:
        """Return when requests can be served."""
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        await self._connection.wait()
        self._problem = "starting: making topics"
        topics = [*self._topics.fixed(), self._topics.of_bridge(self.id)]
        await self._retry(lambda: ensure_topics(self._connection, topics))
        producer = self._connection.producer()
        await self._retry(producer.start)
        self._writer = Writer(producer, self._topics)
        self._problem = "starting: reading tables"
        for table in (self._services, self._jobs, self._workers):
            await table.start()
        for table in (self._services, self._jobs, self._workers):
            await table.caught_up.wait()
        await self._replies.start()
        self._problem = ""
        self._background.spawn(self._watch())

    async def health(self) -> Sequence[str]:
        """See Api."""
        if self._problem:
            return [self._problem]
        tables = (self._services, self._jobs, self._workers)
        reasons = [f"table {table.topic}: {table.problem}" for table in tables if table.problem]
        return reasons + ([f"replies: {self._replies.problem}"] if self._replies.problem else [])

    # -- services -------------------------------------------------------------------------

    async def info(self, *, status: bool = False) -> Answer:
        """See Api."""
        await self._served()
        rows = [ServiceRecord.model_validate(row) for row in self._services.rows.values()]
        services = [self._described(row, jobs=status, labels=False) for row in rows]
        head = {"method": "/info", "version": __version__, "branch": "main", "commit": ""}
        extra = {"build-type": "python", "compile_flags": "", "deps_version": ""}
        return Answer(200, {**head, **extra, "services": services})

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        """See Api."""
        await self._served()
        name = service_name(name)
        if name in self._services.rows:
            raise ServiceExists
        self._topics.of_service(name)
        command = ControlCommand(verb="create", service=name, definition=definition)
        answer = await self._command(self._topics.control, name, command)
        version = int(answer.head.get("version", 1))
        await self._see(self._services, lambda rows: _version(rows.get(name)) >= version)
        warnings = answer.head.get("warnings")
        return Answer(201, {"warnings": warnings} if warnings else {})

    async def get_service(self, name: str, *, status: bool = True, labels: bool = False) -> Answer:
        """See Api."""
        await self._served()
        return Answer(200, {}, self._described(self._record(name), jobs=status, labels=labels))

    async def delete_service(self, name: str, clear: str = "mem") -> Answer:
        """See Api."""
        await self._served()
        name = service_name(name)
        if name not in self._services.rows:
            raise ServiceNotFound
        command = ControlCommand(verb="delete", service=name, clear=clear_mode(clear))
        await self._command(self._topics.control, name, command)
        await self._see(self._services, lambda rows: name not in rows)
        return Answer()

    # -- predict --------------------------------------------------------------------------

    async def predict(self, request: PredictRequest) -> Answer:
        """See Api."""
        await self._served()
        record = self._record(request.service)
        if not request.data:
            raise NoData
        value = request_body(request)
        if len(value) > (limit := self._settings.max_request_bytes):
            raise TooLarge(f"the request has {len(value)} bytes, the limit is {limit}")
        version = ((messages.VERSION, b"%d" % record.version),)
        return await self._ask(self._topics.predict(record.name), None, value, version)

    # -- trainings ------------------------------------------------------------------------

    async def train(self, request: TrainRequest) -> Answer:
        """See Api."""
        await self._served()
        name = self._record(request.service).name
        request = request.model_copy(update={"service": name})
        command = TrainCommand(verb="train", service=name, request=request)
        answer = await self._command(self._topics.train, name, command)
        number = int(answer.head["job"])
        key = job_key(name, number)
        await self._see(self._jobs, lambda rows: key in rows)
        if request.asynchronous:
            return Answer(201, answer.head)
        await self._jobs.until(lambda rows: _ended(rows.get(key)))
        record, history = self._job(name, number)
        await self._take(name, number)
        output: Json = {**self._record(name).definition.parameters.output}
        output |= request.parameters.output
        most = int(output.get("max_hist_points", 10**9)) if output.get("measure_hist") else None
        return blocking_answer(record, history, most)

    async def get_job(self, query: JobQuery) -> Answer:
        """See Api."""
        await self._served()
        name = self._record(query.service).name
        number = self._number(name, query.job)
        key = job_key(name, number)
        if query.timeout:
            try:
                async with asyncio.timeout(query.timeout):
                    await self._jobs.until(lambda rows: _ended(rows.get(key)))
            except TimeoutError:
                log.debug("job %s runs on", key)
        record, history = self._job(name, number)
        if record.status.ended:
            await self._take(name, number)
            # Who sees the end predicts with the new weights: this bridge must know of them.
            await self._see(
                self._services,
                lambda rows: name not in rows or _version(rows[name]) >= record.version,
            )
        return job_answer(record, history, query.history_points())

    async def delete_job(self, stop: JobStop) -> Answer:
        """See Api."""
        await self._served()
        name = self._record(stop.service).name
        number = self._number(name, stop.job)
        key = job_key(name, number)
        command = TrainCommand(verb="stop", service=name, job=number, force=stop.force)
        answer = await self._command(self._topics.train, name, command)
        status = JobStatus(answer.head["status"])
        if not status.ended and not stop.wait:
            return Answer(200, answer.head)
        await self._jobs.until(lambda rows: _ended(rows.get(key)))
        record, _ = self._job(name, number)
        await self._take(name, number)
        return stopped_answer(record)

    # -- inside ---------------------------------------------------------------------------

    async def _served(self) -> None:
        if self._problem:
            try:
                async with asyncio.timeout(self._settings.request_timeout):
                    await self.ready()
            except TimeoutError as error:
                raise TimedOut(self._problem) from error

    async def _command(self, topic: str, key: str, command: Any) -> Answer:
        value = dumps(command.model_dump(by_alias=True))
        return await self._ask(topic, key, value, ())

    async def _ask(
        self, topic: str, key: str | None, value: bytes, extra: messages.Headers
    ) -> Answer:
        deadline = time.time() + self._settings.request_timeout
        correlation, future, headers = self._replies.open(deadline)
        waiting = self._replies.wait(correlation, future, deadline)
        try:
            await self._writer.ask(topic, key, value, (*headers, *extra))
        except BaseException:
            waiting.close()
            self._replies.forget(correlation)
            raise
        return await waiting

    async def _take(self, service: str, number: int) -> None:
        """Have the owner erase the job: its report goes to one caller. Raises JobNotFound."""
        command = TrainCommand(verb="take", service=service, job=number)
        await self._command(self._topics.train, service, command)
        key = job_key(service, number)
        await self._see(self._jobs, lambda rows: key not in rows)

    async def _see(self, table: Table, condition: Any) -> None:
        """Wait until this bridge's own table shows what a worker has answered."""
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await table.until(condition)
        except TimeoutError as error:
            raise TimedOut(f"the table {table.topic} does not show the change") from error

    def _record(self, name: str) -> ServiceRecord:
        row = self._services.rows.get(name) or self._services.rows.get(service_name(name))
        if row is None:
            raise ServiceNotFound
        return ServiceRecord.model_validate(row)

    def _number(self, service: str, number: int | None) -> int:
        if number is None:
            raise JobNotFound
        if job_key(service, number) not in self._jobs.rows:
            raise JobNotFound(head={"method": "/train", "job": number})
        return number

    def _job(self, service: str, number: int) -> tuple[JobRecord, History]:
        key = job_key(service, self._number(service, number))
        row = JobRow.model_validate(self._jobs.rows[key])
        history = History()
        for chunk in range(row.chunks):
            history.extend(self._jobs.rows.get(f"{key}/{chunk}", {}).get("points", {}))
        return JobRecord.from_json(row.record), history

    def _described(self, record: ServiceRecord, *, jobs: bool, labels: bool) -> Json:
        prefix = f"{record.name}/"
        rows = [row for key, row in self._jobs.rows.items() if key.startswith(prefix)]
        records = [JobRecord.from_json(row["record"]) for row in rows if row.get("record")]
        lines = [job_line(job) for job in sorted(records, key=lambda job: job.number)]
        stats = summed(w.services[record.name].stats for w in self._live(record.name))
        body = described(record.description, lines, stats, labels=labels)
        if not jobs:
            body.pop("jobs")
        return body

    def _live(self, service: str = "") -> list[WorkerRecord]:
        """Workers whose heart beats; with `service`, those that have it loaded."""
        workers = map(WorkerRecord.model_validate, self._workers.rows.values())
        now = time.time()
        return [
            worker
            for worker in workers
            if now - worker.time < LIVE_SECONDS and (not service or service in worker.services)
        ]

    async def _watch(self) -> None:
        """Tell who waits when there has been no live worker for a minute."""
        while True:
            if self._live():
                self._alive = time.monotonic()
            elif time.monotonic() - self._alive > NO_WORKER_SECONDS and len(self._replies):
                self._replies.fail("no live worker for 60 s")
            await asyncio.sleep(1.0)

    async def _retry(self, step: Any) -> None:
        delay = 0.2
        while True:
            try:
                await step()
                return
            except TRANSIENT as error:
                log.warning("starting: %s; trying again", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)


def _version(row: Json | None) -> int:
    return int(row["version"]) if row else 0


def _ended(row: Json | None) -> bool:
    # A job that is gone was read by somebody else: it has ended too.
    return row is None or JobStatus(row["record"]["status"]).ended
