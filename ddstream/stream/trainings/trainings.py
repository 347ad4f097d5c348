"""Trainings on Kafka: commands on `train`, their lives as rows of `jobs`.

The owner of a service's partition of `train` numbers its jobs and runs them; whoever owns the
partition next also owns its unfinished jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka import ConsumerRebalanceListener, TopicPartition

from ddstream.api.envelope import Answer, Json
from ddstream.api.job import (
    JobChange,
    JobRecord,
    JobStatus,
    hidden_number,
    started_answer,
    stopped_answer,
)
from ddstream.api.stream import JobRow, TrainCommand
from ddstream.api.train import TrainRequest
from ddstream.background import Background
from ddstream.errors import BadRequest, DDError, JobNotFound, ServiceNotFound, fault
from ddstream.stream import messages
from ddstream.stream.hosted import Hosted
from ddstream.stream.table import Table
from ddstream.stream.trainings.assignor import CalmAssignor
from ddstream.stream.trainings.held import HeldJob, HeldJobs
from ddstream.stream.trainings.jobnews import JobNews
from ddstream.stream.trainings.jobrows import JobRows
from ddstream.stream.trainings.succession import Succession
from ddstream.stream.writer import Writer

log = logging.getLogger(__name__)

LOAD_SECONDS = 60.0
"""How long a command waits for its service to be loaded here."""
LEAVE_SECONDS = 35.0
"""How long trainings that are given up at a drain have to save their checkpoints."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The topics that every worker reads."""

    services: Table
    jobs: Table
    workers: Table


class KafkaTrainings(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs the trainings of the partitions that this worker owns."""

    def __init__(self, worker: str, hosted: Hosted, tables: Tables, writer: Writer) -> None:
        self._worker = worker
        self._hosted = hosted
        self._tables = tables
        self._writer = writer
        self._jobs = HeldJobs()
        self._rows = JobRows(tables.jobs, writer)
        self._news = JobNews(hosted, self._rows, self._jobs)
        self._succession = Succession(worker, hosted, self._rows, tables.workers, self._jobs)
        self._background = Background()
        self._partitions: set[int] = set()
        self._settled = asyncio.Event()
        self._draining = False
        self.assignor = CalmAssignor(self._jobs.busy)
        tables.jobs.listen(self._on_row, self._on_refused)

    def start(self) -> None:
        """Begin to tell of jobs."""
        self._news.start()

    async def stop(self) -> None:
        """Have what runs save its checkpoint; it is left to the next owner."""
        self._draining = True
        for held in list(self._jobs.mine.values()):
            self._give_up(held)
        leaving = [held.gone.wait() for held in self._jobs.leaving.values()]
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*leaving)
        except TimeoutError:
            log.warning("%d trainings did not end in time", len(self._jobs.leaving))
        await self._background.cancel()
        await self._news.stop()

    # -- commands -------------------------------------------------------------------------

    async def handle(self, record: Any) -> None:
        """Do a command and answer it; one of a partition that was lost is left to its owner."""
        service = (record.key or b"").decode(errors="replace")
        await self._settled.wait()
        if record.partition not in self._partitions:
            return
        try:
            answer = await self._do(record)
        except Exception as error:
            await self._writer.reply(record, service, fault(error, "a train command"))
            return
        if answer is not None:
            await self._writer.reply(record, service, answer)

    async def forget(self, service: str) -> None:
        """Erase the rows of all jobs of a deleted service."""
        await self._rows.forget(service)

    async def _do(self, record: Any) -> Answer | None:
        headers = dict(record.headers)
        correlation = messages.text(headers, messages.CORRELATION)
        try:
            command = TrainCommand.model_validate(orjson.loads(record.value))
        except ValueError as error:
            raise BadRequest(f"no train command: {error}") from error
        if command.verb == "train" and command.request is not None:
            return await self._train(command.request, record.partition, correlation)
        row = self._rows.row(command.service, command.job)
        if command.verb == "stop":
            return await self._stop(command.service, row, force=command.force)
        await self._rows.erase(command.service, row)
        return Answer()

    async def _train(self, request: TrainRequest, partition: int, correlation: str) -> Answer:
        service = request.service
        await self._loaded(service)
        if known := self._rows.by_correlation(service, correlation):
            return started_answer(known, [])
        born = self._hosted.record(service).correlation_id
        number = hidden_number()
        if request.asynchronous:
            number = self._rows.last_number(service, born) + 1
        raw = request.model_dump(by_alias=True)
        record = JobRecord(service, number, request=raw, correlation_id=correlation)
        held = self._hold(
            service,
            JobRow(
                number=number,
                partition=partition,
                born=born,
                holder=self._worker,
                record=record.to_json(),
            ),
        )
        held.claimed.set()
        if request.asynchronous:
            await self._rows.keep_number(service, held.row)
        # Before it starts: whoever owns the partition by then knows of it, and goes on with it.
        await self._rows.keep(service, held.row)
        try:
            record = await self._hosted.host.start_job(record)
        except DDError:
            self._jobs.drop(held)
            await self._rows.erase(service, held.row)
            raise
        held.running = True
        await self._news.tell(held, JobChange(record))
        if held.lost:
            self._end_here(held)
        return started_answer(record, list(record.warnings))

    async def _stop(self, service: str, row: JobRow, *, force: bool) -> Answer | None:
        """None: the job was lost meanwhile, and its next owner gets this command again."""
        held = self._jobs.mine.get((service, row.number))
        job = JobRecord.from_json(row.record)
        if job.status.ended or held is None:
            return stopped_answer(job)
        held.stop = "force" if force else "ask"
        # A job between two owners: it is this one's soon, and then it does not go on.
        await held.claimed.wait()
        if held.running and not held.gone.is_set():
            self._hosted.host.stop_job(*held.key, force=force)
            # Written before it is answered: should this worker die, the next one ends the job.
            status = JobStatus.TERMINATING if force else JobStatus.CANCELLING
            await self._news.tell(held, JobChange(held.record.evolve(status=status)))
        return None if held.lost else stopped_answer(held.record)

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
        self._settled.clear()
        for held in list(self._jobs.mine.values()):
            if held.row.partition not in self._partitions:
                self._give_up(held)
        self._background.spawn(self._settle(frozenset(self._partitions)))

    def _give_up(self, held: HeldJob) -> None:
        log.info("job %s/%d goes to another worker", *held.key)
        self._jobs.give_up(held)
        if held.running:
            self._end_here(held)

    def _end_here(self, held: HeldJob) -> None:
        with suppress(JobNotFound):  # it has ended by itself just now
            self._hosted.host.stop_job(*held.key)

    async def _settle(self, partitions: frozenset[int]) -> None:
        """Know what there is to go on with; the commands of these partitions wait for it."""
        # A job's service is older than the job: both are read to where they are now.
        await self._tables.jobs.current()
        await self._tables.services.current()
        if self._draining or partitions != self._partitions:
            return
        for row in self._rows.of_partitions(partitions):
            job = JobRecord.from_json(row.record)
            if job.status.ended or (job.service, job.number) in self._jobs.mine:
                continue
            if not self._hosted.wants(job.service):
                await self._rows.erase(job.service, row)
            elif self._hosted.record(job.service).correlation_id == row.born:
                held = self._hold(job.service, row)
                self._background.spawn(self._succession.take_over(held, self._news))
        self._settled.set()

    def _hold(self, service: str, row: JobRow) -> HeldJob:
        held = HeldJob(service, row)
        self._jobs.mine[held.key] = held
        return held

    # -- what others write ----------------------------------------------------------------

    async def _on_row(self, key: str, row: Json | None) -> None:
        """A later attempt elsewhere ends the one here, though no rebalance told of it yet."""
        for held in list(self._jobs.mine.values()) if row and row.get("record") else ():
            mine = held.claimed.is_set() and not held.gone.is_set()
            later = row is not None and row["epoch"] > held.row.epoch
            if mine and later and key == f"{held.service}/{held.row.number}":
                self._give_up(held)

    async def _on_refused(self, key: str, row: Json) -> None:
        """What an old attempt wrote must not be the last row of its key on the topic."""
        own = row.get("holder") == self._worker
        found = self._tables.jobs.rows.get(key)
        if not own and found is not None and found.get("partition") in self._partitions:
            self._background.spawn(self._rows.assert_again(key))
