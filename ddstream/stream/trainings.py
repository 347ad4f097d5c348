"""Trainings on Kafka: commands on `train`, their lives as rows of `jobs`.

The owner of a service's partition of `train` numbers its jobs and runs them; whoever owns the
partition next also owns its unfinished jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import ConsumerRebalanceListener, TopicPartition

from ddstream.api.envelope import Answer
from ddstream.api.job import JobChange, JobRecord, JobStatus, started_answer, stopped_answer
from ddstream.api.parameters import envelope
from ddstream.api.protocol import Host
from ddstream.api.stream import JobRow, TrainCommand
from ddstream.api.train import JobStop, TrainRequest
from ddstream.background import Background
from ddstream.errors import BadRequest, DDError, JobNotFound, ServiceNotFound, fault
from ddstream.stream import messages
from ddstream.stream.hosted import Hosted
from ddstream.stream.table import Table
from ddstream.stream.topics import Topics
from ddstream.stream.writer import Writer

log = logging.getLogger(__name__)

PERIOD = 0.5
"""Seconds between two updates of one job's row, at least."""
CHUNK_POINTS = 2000
"""Points of the longest series in one history row."""
LOAD_SECONDS = 60.0
"""How long a command waits for its service to be loaded here."""


def job_key(service: str, number: int | str) -> str:
    """The key of a job's row, or of a service's last number (`#`)."""
    return f"{service}/{number}"


@dataclass(slots=True)
class _Owned:
    """A job that runs here."""

    partition: int
    epoch: int
    correlation_id: str
    chunk: int = 0
    points: dict[str, list[float]] = field(default_factory=dict)
    written: float = 0.0
    lost: bool = False
    """Another worker owns it now: this one's words no longer count."""


class KafkaTrainings(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs the trainings of the partitions that this worker owns."""

    def __init__(self, hosted: Hosted, topics: Topics, table: Table, writer: Writer) -> None:
        self._hosted = hosted
        self._topics = topics
        self._table = table
        self._writer = writer
        self._owned: dict[tuple[str, int], _Owned] = {}
        self._pending: dict[tuple[str, int], JobChange] = {}
        self._woken = asyncio.Event()
        self._background = Background()
        self._partitions: set[int] = set()
        self._draining = False

    @property
    def _host(self) -> Host:
        return self._hosted.host

    def start(self) -> None:
        """Begin to tell of jobs."""
        self._background.spawn(self._gather())
        self._background.spawn(self._write())

    async def stop(self) -> None:
        """Tell no more; what runs is left to the next owner, from its last checkpoint."""
        self._draining = True
        await self._background.cancel()

    # -- commands -------------------------------------------------------------------------

    async def handle(self, record: Any) -> None:
        """Do a command and answer it."""
        service = (record.key or b"").decode(errors="replace")
        try:
            answer = await self._do(record)
        except Exception as error:
            await self._writer.reply(record, service, fault(error, "a train command"))
            return
        await self._writer.reply(record, service, answer)

    async def _do(self, record: Any) -> Answer:
        headers = dict(record.headers)
        correlation = messages.text(headers, messages.CORRELATION)
        try:
            command = TrainCommand.model_validate(orjson.loads(record.value))
        except ValueError as error:
            raise BadRequest(f"no train command: {error}") from error
        await self._table.caught_up.wait()
        if command.verb == "train" and command.request is not None:
            return await self._train(command.request, record.partition, correlation)
        row = self._row(command.service, command.job)
        job = JobRecord.from_json(row.record)
        if command.verb == "stop":
            return await self._stop(job, force=command.force)
        await self._erase(command.service, command.job, row.chunks)
        return Answer()

    async def _train(self, request: TrainRequest, partition: int, correlation: str) -> Answer:
        service = request.service
        await self._loaded(service)
        if known := self._by_correlation(service, correlation):
            return started_answer(known, [])
        number = self._last_number(service) + 1
        key = (service, number)
        self._owned[key] = _Owned(partition, 0, correlation)
        await self._keep(job_key(service, "#"), service, JobRow(number=number))
        try:
            record = await self._host.start_job(number, request, resume=False)
        except DDError:
            del self._owned[key]
            raise
        await self._tell(JobChange(record))
        return started_answer(record, list(record.warnings))

    async def _stop(self, job: JobRecord, *, force: bool) -> Answer:
        key = (job.service, job.number)
        if job.status.ended or key not in self._owned:
            return stopped_answer(job)
        self._host.stop_job(job.service, job.number, force=force)
        status = JobStatus.TERMINATING if force else JobStatus.CANCELLING
        return stopped_answer(job.evolve(status=status))

    async def _loaded(self, service: str) -> None:
        """Wait until the service is loaded here. Raises ServiceNotFound."""
        self._hosted.record(service)
        end = time.monotonic() + LOAD_SECONDS
        while not self._hosted.holds(service):
            if time.monotonic() > end:
                raise ServiceNotFound
            await asyncio.sleep(0.05)

    # -- rebalances -----------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Nothing: a joining worker must not end trainings; the assignment decides."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Give up the jobs of partitions that are gone, take over those of new ones."""
        self._partitions = {tp.partition for tp in assigned}
        for (service, number), owned in list(self._owned.items()):
            if owned.partition not in self._partitions and not owned.lost:
                log.info("job %s/%d goes to another worker", service, number)
                owned.lost = True
                self._host.stop_job(service, number)
        self._background.spawn(self._take_over())

    async def _take_over(self) -> None:
        await self._table.caught_up.wait()
        for key, raw in list(self._table.rows.items()):
            row = _job_row(key, raw)
            if row is None or row.partition not in self._partitions or not row.record:
                continue
            job = JobRecord.from_json(row.record)
            if not job.status.ended and (job.service, job.number) not in self._owned:
                self._background.spawn(self._resume(job, row))

    async def _resume(self, job: JobRecord, row: JobRow) -> None:
        log.info("job %s/%d is taken over, attempt %d", job.service, job.number, job.epoch + 1)
        owned = _Owned(row.partition, job.epoch + 1, job.correlation_id, chunk=row.chunks)
        self._owned[job.service, job.number] = owned
        try:
            await self._loaded(job.service)
            request = envelope(TrainRequest, job.request)
            await self._host.start_job(job.number, request, resume=True)
        except DDError as error:
            ended = job.evolve(status=JobStatus.ERROR, error=error.status(), ended=time.time())
            await self._tell(JobChange(ended))

    # -- telling --------------------------------------------------------------------------

    async def _gather(self) -> None:
        async for change in self._host.jobs():
            key = (change.record.service, change.record.number)
            before = self._pending.get(key)
            self._pending[key] = _joined(before, change)
            self._woken.set()

    async def _write(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            for key, change in list(self._pending.items()):
                owned = self._owned.get(key)
                if owned is None or owned.lost:
                    del self._pending[key]
                elif change.record.status.ended or time.monotonic() - owned.written >= PERIOD:
                    del self._pending[key]
                    await self._tell(change)
            if self._pending:
                await asyncio.sleep(PERIOD / 2)
                self._woken.set()

    async def _tell(self, change: JobChange) -> None:
        """Write a job's row, its new points first; an end first gives the service a version."""
        record = change.record
        key = (record.service, record.number)
        owned = self._owned[key]
        record = record.evolve(epoch=owned.epoch, correlation_id=owned.correlation_id)
        if not self._hosted.wants(record.service):
            # Deleted meanwhile, its rows too: nothing of it is told any more.
            del self._owned[key]
            return
        if record.status in (JobStatus.FINISHED, JobStatus.TERMINATED):
            record = record.evolve(version=await self._hosted.retrained(record.service))
        await self._write_points(record, owned, change.points)
        row = JobRow(
            number=record.number,
            partition=owned.partition,
            chunks=owned.chunk + 1,
            record=record.to_json(),
        )
        await self._keep(job_key(*key), record.service, row)
        owned.written = time.monotonic()
        if record.status.ended:
            del self._owned[key]
            with suppress(DDError):  # the topic has its report now
                await self._host.delete_job(JobStop(service=key[0], job=key[1]))

    async def forget(self, service: str) -> None:
        """Erase the rows of all jobs of a deleted service."""
        for key in [key for key in self._table.rows if key.rpartition("/")[0] == service]:
            row = _job_row(key, self._table.rows[key])
            if row is not None:
                await self._erase(service, row.number, row.chunks)
        await self._writer.write_beside(self._topics.jobs, service, job_key(service, "#"), None)
        self._table.rows.pop(job_key(service, "#"), None)

    async def _write_points(
        self, record: JobRecord, owned: _Owned, points: Mapping[str, list[float]]
    ) -> None:
        for name, values in points.items():
            owned.points.setdefault(name, []).extend(values)
        if not points:
            return
        key = f"{job_key(record.service, record.number)}/{owned.chunk}"
        await self._writer.write_beside(
            self._topics.jobs, record.service, key, {"points": owned.points}
        )
        if max(map(len, owned.points.values())) >= CHUNK_POINTS:
            owned.chunk += 1
            owned.points = {}

    async def _erase(self, service: str, number: int, chunks: int) -> None:
        key = job_key(service, number)
        for chunk in range(chunks):
            await self._writer.write_beside(self._topics.jobs, service, f"{key}/{chunk}", None)
        await self._writer.write_beside(self._topics.jobs, service, key, None)
        self._table.rows.pop(key, None)

    async def _keep(self, key: str, service: str, row: JobRow) -> None:
        value = row.model_dump()
        await self._writer.write_beside(self._topics.jobs, service, key, value)
        # This worker's next command must see it, whenever the table reads it back.
        self._table.rows[key] = value

    # -- the table ------------------------------------------------------------------------

    def _row(self, service: str, number: int) -> JobRow:
        row = _job_row("", self._table.rows.get(job_key(service, number)))
        if row is None:
            raise JobNotFound(head={"method": "/train", "job": number})
        return row

    def _last_number(self, service: str) -> int:
        row = self._table.rows.get(job_key(service, "#"))
        return int(row["number"]) if row else 0

    def _by_correlation(self, service: str, correlation: str) -> JobRecord | None:
        if not correlation:
            return None
        for key, raw in self._table.rows.items():
            row = _job_row(key, raw)
            if row is not None and row.record.get("correlation_id") == correlation:
                job = JobRecord.from_json(row.record)
                return job if job.service == service else None
        return None


def _job_row(key: str, raw: Any) -> JobRow | None:
    """The row of a job; None for a history's row, a number's row, or nothing."""
    if raw is None or "points" in raw or key.endswith("/#"):
        return None
    return JobRow.model_validate(raw)


def _joined(before: JobChange | None, change: JobChange) -> JobChange:
    if before is None:
        return change
    points = {name: list(values) for name, values in before.points.items()}
    for name, values in change.points.items():
        points.setdefault(name, []).extend(values)
    return JobChange(change.record, points)
