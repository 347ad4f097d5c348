"""The training jobs of one process: one at a time for each service, their records and ends."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakSet

from ddstream.api.job import (
    History,
    JobChange,
    JobRecord,
    JobStatus,
    failed,
    report_json,
)
from ddstream.engine.feed import JobFeed, JobState
from ddstream.engine.training import Training, TrainingSpec
from ddstream.errors import InternalError, JobNotFound, fault
from ddstream.fence import Fence, Fenced, reached_by
from ddstream.repository import METRICS, Repository

log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds that a training has to save its checkpoint before it is killed."""
RESTARTS = 3
"""How often a trainer that died is started again without having written a checkpoint since."""

OnEnd = Callable[[JobRecord], Awaitable[JobRecord]]


async def _unchanged(record: JobRecord) -> JobRecord:
    return record


@dataclass(slots=True, eq=False)
class _Job(JobState):
    training: Training | None = None
    ended: asyncio.Future[None] | None = None


class Jobs:
    """Starts, stops and remembers trainings; used from one event loop as `async with`.

    `on_end` is awaited between a training's end and the moment that others see the end; it
    returns the record to show. A job that is stopped before it began never comes to it.
    """

    def __init__(
        self, on_end: OnEnd = _unchanged, *, grace: float = GRACE, restarts: int = RESTARTS
    ) -> None:
        self._on_end = on_end
        self._grace = grace
        self._restarts = restarts
        self._jobs: dict[tuple[str, int], _Job] = {}
        self._numbers: dict[str, int] = {}
        self._queues: dict[str, deque[_Job]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._feeds: WeakSet[JobFeed] = WeakSet()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def next_number(self, service: str) -> int:
        """The number of the service's next job, from 1."""
        return self._numbers.get(service, 0) + 1

    def start(self, record: JobRecord, spec: TrainingSpec) -> JobState:
        """Queue a training behind the service's others. The record's number must be free."""
        key = (record.service, record.number)
        if key in self._jobs and not self._jobs[key].record.status.ended:
            raise InternalError(f"job {record.number} of {record.service} runs already")
        ended = asyncio.get_running_loop().create_future()
        spec = replace(spec, run=record.run, epoch=record.epoch)
        job = self._jobs[key] = _Job(record, History(), Training(spec, record), ended)
        self._numbers[record.service] = max(self._numbers.get(record.service, 0), record.number)
        self._tell(job)
        if (queue := self._queues.get(record.service)) is not None:
            queue.append(job)
            return job
        self._queues[record.service] = deque([job])
        worker = asyncio.create_task(self._work(record.service))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)
        return job

    def get(self, service: str, number: int | None) -> JobState:
        """A job as it stands. Raises JobNotFound."""
        return self._find(service, number)

    def of(self, service: str) -> list[JobRecord]:
        """The records of a service's jobs, by number."""
        return [job.record for (name, _), job in sorted(self._jobs.items()) if name == service]

    def training(self, service: str) -> bool:
        """Whether a job holds the service."""
        return any(
            name == service and not job.record.status.ended for (name, _), job in self._jobs.items()
        )

    async def wait(
        self, service: str, number: int | None, seconds: float | None = None
    ) -> JobState:
        """The job at its end, or as it stands after so many seconds. Raises JobNotFound."""
        job = self._find(service, number)
        await self._ends([job], seconds)
        return job

    def take(self, service: str, number: int | None) -> JobState:
        """A job as it stands; one that has ended is erased: its report is read once."""
        job = self._find(service, number)
        if job.record.status.ended:
            self._erase(job)
        return job

    def stop(self, service: str, number: int | None, *, force: bool = False) -> JobRecord:
        """Ask a training to save a checkpoint and end, or kill it; one that ended stays."""
        job = self._find(service, number)
        self._stop(job, force=force)
        return job.record

    async def delete(
        self, service: str, number: int | None, *, wait: bool = True, force: bool = False
    ) -> JobRecord:
        """Stop a training and, with `wait` or if it had ended already, erase its job.

        Without `wait` the record says that it is ending, and its end is left to be read.
        """
        job = self._find(service, number)
        read = wait or job.record.status.ended
        self._stop(job, force=force)
        if wait:
            await self._ends([job])
        if read:
            self._erase(job)
            return job.record
        ending = JobStatus.TERMINATING if force else JobStatus.CANCELLING
        return job.record.evolve(status=ending)

    async def forget(self, service: str) -> None:
        """Stop and erase all jobs of a service; its numbers start from 1 again."""
        jobs = [job for (name, _), job in self._jobs.items() if name == service]
        await self._stop_all(jobs)
        for job in jobs:
            self._erase(job)
        self._numbers.pop(service, None)

    def changes(self) -> JobFeed:
        """News of every job: those that are here now come first, as they stand."""
        feed = JobFeed()
        self._feeds.add(feed)
        for job in self._jobs.values():
            feed.mark(job)
        return feed

    async def aclose(self) -> None:
        """Stop all trainings, killing those that take too long.

        Feeds end first: a training that a shutdown stops was not stopped by its user.
        """
        for feed in self._feeds:
            feed.close()
        await self._stop_all(list(self._jobs.values()))
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _find(self, service: str, number: int | None) -> _Job:
        if number is None:
            raise JobNotFound
        try:
            return self._jobs[service, number]
        except KeyError:
            raise JobNotFound(head={"method": "/train", "job": number}) from None

    def _erase(self, job: _Job) -> None:
        key = (job.record.service, job.record.number)
        if self._jobs.get(key) is job:
            del self._jobs[key]

    def _tell(self, job: _Job) -> None:
        for feed in self._feeds:
            feed.mark(job)

    def _stop(self, job: _Job, *, force: bool) -> None:
        if job.record.status.ended or job.training is None:
            return
        record = job.training.kill() if force else job.training.stop()
        queue = self._queues.get(record.service, deque())
        if job in queue:
            queue.remove(job)
            self._end(job, job.training.ended(JobStatus.TERMINATED))
        elif not record.status.ended:
            job.record = record
            self._tell(job)

    async def _stop_all(self, jobs: Iterable[_Job]) -> None:
        jobs = list(jobs)
        for job in jobs:
            self._stop(job, force=False)
        await self._ends(jobs, self._grace)
        for job in jobs:
            self._stop(job, force=True)
        await self._ends(jobs)

    async def _ends(self, jobs: Iterable[_Job], seconds: float | None = None) -> None:
        if pending := [job.ended for job in jobs if job.ended and not job.ended.done()]:
            await asyncio.wait(pending, timeout=seconds)

    async def _work(self, service: str) -> None:
        queue = self._queues[service]
        while queue:
            await self._train(queue.popleft())
        del self._queues[service]

    async def _train(self, job: _Job) -> None:
        assert job.training is not None
        spec = job.training.spec
        try:
            record = await self._attempts(job, spec)
            await asyncio.to_thread(_keep_metrics, spec, record, job.history)
            record = await self._on_end(record)
        except Exception as error:
            record = failed(job.record, fault(error, f"job {spec.service}/{spec.number}"))
        self._end(job, record)

    async def _attempts(self, job: _Job, spec: TrainingSpec) -> JobRecord:
        """Run a training to its end; a trainer that dies is followed by another."""
        folder, vain, before = Path(spec.repository), 0, 0
        while True:
            assert job.training is not None
            training = job.training
            record = await training.run(partial(self._changed, job))
            if not training.died:
                return record
            # A stop that comes from here on must find the next attempt.
            job.training = Training(spec, job.record)
            reached = await asyncio.to_thread(reached_by, spec.run, folder)
            vain, before = (0 if reached > before else vain + 1), reached
            if vain > self._restarts:
                return record
            log.warning("%s goes on from iteration %d", job.record.run, reached)

    def _changed(self, job: _Job, change: JobChange) -> None:
        job.record = change.record
        if change.whole:
            job.history = History(change.points)
        else:
            job.history.extend(change.points)
        self._tell(job)

    def _end(self, job: _Job, record: JobRecord) -> None:
        job.record = record
        # The spec may hold a lot, and an unread report stays for long.
        job.training = None
        if job.ended is not None and not job.ended.done():
            job.ended.set_result(None)
        self._tell(job)


def _keep_metrics(spec: TrainingSpec, record: JobRecord, history: History) -> None:
    folder = Path(spec.repository)
    try:
        # Behind the trainer's own fence: who was given up does not write here either.
        repository = Repository(folder, Fence(folder, spec.run, spec.epoch))
        repository.write_json(METRICS, report_json(record, history))
    except (OSError, Fenced) as error:
        log.warning("%s: history not kept: %s", spec.run, error)
