"""How a worker goes on with a job of another one: it waits for it, claims it, and starts it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from ddstream.api.job import JobChange, JobRecord, JobStatus, failed
from ddstream.errors import DDError
from ddstream.stream.hosted import Hosted
from ddstream.stream.table import Table
from ddstream.stream.trainings.held import HeldJob, HeldJobs
from ddstream.stream.trainings.jobnews import JobNews
from ddstream.stream.trainings.jobrows import JobRows

log = logging.getLogger(__name__)

HAND_OVER_SECONDS = 60.0
"""How long a worker that lives may take to save what it has to give up."""
LIVE_SECONDS = 15.0
"""A worker whose last heartbeat is older is taken for dead."""
STOPPED = (JobStatus.CANCELLING, JobStatus.TERMINATING)


class Succession:
    """Takes jobs over; whatever it waits for, a job that is lost meanwhile is let go."""

    def __init__(
        self, worker: str, hosted: Hosted, rows: JobRows, workers: Table, jobs: HeldJobs
    ) -> None:
        self._worker = worker
        self._hosted = hosted
        self._rows = rows
        self._workers = workers
        self._jobs = jobs

    async def take_over(self, held: HeldJob, news: JobNews) -> None:
        """Go on with a job as its next attempt, or end it if its user wanted it to end."""
        if (before := self._jobs.leaving.get(held.key)) is not None:
            await before.gone.wait()
        await self._given_up(held)
        await self._claim(held)
        if held.lost or not self._holds(held):
            await self._let_go(held, news)
            return
        held.claimed.set()
        record = held.record
        if held.stop or record.status in STOPPED:
            await self._end(held, news)
            return
        log.info("job %s/%d goes on here, attempt %d", *held.key, record.epoch)
        await self._start(held, news, record)

    async def _start(self, held: HeldJob, news: JobNews, record: JobRecord) -> None:
        try:
            while news.exists(held) and not self._hosted.holds(held.service):
                if held.lost or held.stop:
                    break
                await asyncio.sleep(0.05)
            if held.lost:
                await news.hand_over(held)
                return
            if held.stop:
                await self._end(held, news)
                return
            await self._hosted.host.start_job(record)
        except DDError as error:
            await news.tell(held, JobChange(failed(record, error)))
            return
        held.running = True
        if held.lost or held.stop:
            self._hosted.host.stop_job(*held.key, force=held.stop == "force")

    async def _given_up(self, held: HeldJob) -> None:
        """Wait until its last holder has saved and let go, or is dead, or takes too long."""
        end = time.monotonic() + HAND_OVER_SECONDS
        while not held.lost and time.monotonic() < end:
            row = self._rows.find(*held.key)
            if row is None or row.holder in ("", self._worker) or not self._lives(row.holder):
                return
            await asyncio.sleep(0.1)

    def _lives(self, worker: str) -> bool:
        beat = self._workers.rows.get(worker)
        return beat is not None and time.time() - beat["time"] < LIVE_SECONDS

    async def _claim(self, held: HeldJob) -> None:
        """Write the next attempt; should another worker be first, the one after that."""
        while not held.lost:
            found = self._rows.find(*held.key)
            if found is None or JobStatus(found.record["status"]).ended:
                return
            epoch = found.epoch + 1
            row = found.model_copy(
                update={
                    "epoch": epoch,
                    "holder": self._worker,
                    "partition": held.row.partition,
                    "record": found.record | {"epoch": epoch},
                }
            )
            if await self._rows.claim(held.service, row):
                held.row, held.chunk = row, max(0, row.chunks - 1)
                return

    def _holds(self, held: HeldJob) -> bool:
        return held.row.holder == self._worker

    async def _let_go(self, held: HeldJob, news: JobNews) -> None:
        if self._holds(held):
            await news.hand_over(held)
        self._jobs.drop(held)

    async def _end(self, held: HeldJob, news: JobNews) -> None:
        """Its user stopped it while nobody ran it: what it saved last is served."""
        log.info("job %s/%d was stopped and does not go on", *held.key)
        with suppress(DDError):
            await self._hosted.host.reload(held.service)
        ended = held.record.evolve(status=JobStatus.TERMINATED, ended=time.time())
        await news.tell(held, JobChange(ended))
