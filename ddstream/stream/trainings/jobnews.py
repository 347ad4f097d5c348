"""What a worker tells of its jobs: their changes as rows of `jobs`, at most two a second each."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from ddstream.api.job import JobChange, JobStatus
from ddstream.api.train import JobStop
from ddstream.background import Background
from ddstream.errors import DDError
from ddstream.stream.hosted import Hosted
from ddstream.stream.trainings.held import HeldJob, HeldJobs, Key
from ddstream.stream.trainings.jobrows import JobRows, chunk_size, chunks

log = logging.getLogger(__name__)

PERIOD = 0.5
"""Seconds between two updates of one job's row, at least."""


class JobNews:
    """Follows the host's jobs and writes their rows; what ends elsewhere is handed over."""

    def __init__(self, hosted: Hosted, rows: JobRows, jobs: HeldJobs) -> None:
        self._hosted = hosted
        self._rows = rows
        self._jobs = jobs
        self._pending: dict[Key, JobChange] = {}
        self._woken = asyncio.Event()
        self._background = Background()

    def start(self) -> None:
        """Begin to tell."""
        self._background.spawn(self._gather())
        self._background.spawn(self._write())

    async def stop(self) -> None:
        """Tell no more."""
        await self._background.cancel()

    async def tell(self, held: HeldJob, change: JobChange) -> None:
        """Write a job's row, its new points first; an end first gives the service a version."""
        async with held.writing:
            if held.gone.is_set():
                return
            if held.lost:
                if change.record.status.ended:
                    await self._hand_over(held)
            elif not self.exists(held):
                # Its service was deleted meanwhile, its rows too: nothing of it is told any more.
                self._jobs.drop(held)
            else:
                await self._tell(held, change)

    async def hand_over(self, held: HeldJob) -> None:
        """Write that this worker has done with a job that another one goes on with."""
        async with held.writing:
            await self._hand_over(held)

    def exists(self, held: HeldJob) -> bool:
        """Whether the job's service is still the one that it was started for."""
        if not self._hosted.wants(held.service):
            return False
        return self._hosted.record(held.service).correlation_id == held.row.born

    async def _tell(self, held: HeldJob, change: JobChange) -> None:
        record = change.record
        if record.status in (JobStatus.FINISHED, JobStatus.TERMINATED):
            version = await self._hosted.retrained(record.service)
            record = record.evolve(version=version)
        await self._write_points(held, change)
        ended = record.status.ended
        update = {"chunks": held.chunk + 1, "record": record.to_json()}
        held.row = held.row.model_copy(update=update | ({"holder": ""} if ended else {}))
        await self._rows.keep(held.service, held.row)
        held.written = time.monotonic()
        if ended:
            self._jobs.drop(held)
            await self._erase_here(held)

    async def _hand_over(self, held: HeldJob) -> None:
        if held.gone.is_set():
            return
        record = held.record
        waiting = record.evolve(
            status=JobStatus.RUNNING if not held.stop else record.status,
            measure={**record.measure, "state": "waiting"},
        )
        row = held.row.model_copy(update={"holder": "", "record": waiting.to_json()})
        found = self._rows.find(held.service, row.number)
        # Who waited in vain for this word has gone on, and does not need it.
        if found is not None and found.epoch == row.epoch and self.exists(held):
            await self._rows.keep(held.service, row)
        self._jobs.drop(held)
        await self._erase_here(held)

    async def _erase_here(self, held: HeldJob) -> None:
        service, number = held.key
        with suppress(DDError):  # the topic has its report now
            await self._hosted.host.delete_job(JobStop(service=service, job=number))

    async def _write_points(self, held: HeldJob, change: JobChange) -> None:
        if change.whole:
            # What came after the checkpoint is void: the history is written anew.
            held.chunk, held.points = 0, {}
        elif not change.points:
            return
        for name, values in change.points.items():
            held.points.setdefault(name, []).extend(values)
        for part in chunks(held.points):
            await self._rows.keep_points(held.service, held.row, held.chunk, part)
            held.points = part
            if max(map(len, part.values()), default=0) >= chunk_size(held.points):
                held.chunk, held.points = held.chunk + 1, {}
        if change.whole:
            stale = range(held.chunk + 1, held.row.chunks)
            await self._rows.remove_points(held.service, held.row.number, stale)

    async def _gather(self) -> None:
        async for change in self._hosted.host.jobs():
            key = (change.record.service, change.record.number)
            self._pending[key] = change.after(self._pending.get(key))
            self._woken.set()

    async def _write(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            for key, change in list(self._pending.items()):
                held = self._jobs.find(key)
                ended = change.record.status.ended
                if held is None:
                    del self._pending[key]
                elif ended or time.monotonic() - held.written >= PERIOD:
                    del self._pending[key]
                    await self._try_to_tell(held, change)
            if self._pending:
                await asyncio.sleep(PERIOD / 2)
                self._woken.set()

    async def _try_to_tell(self, held: HeldJob, change: JobChange) -> None:
        try:
            await self.tell(held, change)
        except Exception:
            # One job that cannot be told of must not silence all the others.
            log.exception("job %s/%d is not told of", *held.key)
