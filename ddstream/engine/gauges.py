"""What the gauges tell of the trainings of a process: how many, and of each its loss and rate."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

from ddstream import metrics
from ddstream.api.job import JobChange, JobRecord, JobStatus
from ddstream.api.protocol import Host

Key: TypeAlias = tuple[str, str]
_OF_A_JOB = (metrics.TRAINING_ITERATIONS, metrics.TRAINING_LOSS, metrics.TRAINING_RATE)
_LIVE = tuple(status for status in JobStatus if not status.ended)


@asynccontextmanager
async def measured(host: Host) -> AsyncIterator[None]:
    """Keep the gauges of a host and its trainings until the end of `async with`."""
    with metrics.watching(host.capacity):
        following = asyncio.create_task(TrainingGauges().follow(host.jobs()))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


class TrainingGauges:
    """Follows the jobs of a host. The series of a job go with its end."""

    def __init__(self) -> None:
        self._states: dict[Key, JobStatus] = {}
        self._reached: dict[Key, tuple[float, float]] = {}
        """The iteration that each came to, and when, by `time.monotonic`."""

    async def follow(self, changes: AsyncIterator[JobChange]) -> None:
        """Note every change, until there are no more."""
        try:
            async for change in changes:
                self.note(change.record)
        finally:
            for key in list(self._states):
                self._forget(key)
            self._count()

    def note(self, record: JobRecord) -> None:
        """This is how a job stands now."""
        key = (record.service, str(record.number))
        if record.status.ended:
            self._forget(key)
            metrics.JOBS_ENDED.labels(record.service, record.status).inc()
        else:
            self._states[key] = record.status
            self._measure(key, record)
        self._count()

    def _measure(self, key: Key, record: JobRecord) -> None:
        if "train_loss" in record.measure:
            metrics.TRAINING_LOSS.labels(*key).set(float(record.measure["train_loss"]))
        if "iteration" not in record.measure:
            return
        # The record tells the number of the last iteration; the first one is 0.
        done, now = float(record.measure["iteration"]) + 1, time.monotonic()
        metrics.TRAINING_ITERATIONS.labels(*key).set(done)
        before, self._reached[key] = self._reached.get(key), (done, now)
        if before is not None and now > before[1]:
            rate = max(0.0, done - before[0]) / (now - before[1])
            metrics.TRAINING_RATE.labels(*key).set(rate)

    def _forget(self, key: Key) -> None:
        self._states.pop(key, None)
        self._reached.pop(key, None)
        for gauge in _OF_A_JOB:
            gauge.remove(*key)

    def _count(self) -> None:
        found = Counter(self._states.values())
        for status in _LIVE:
            metrics.JOBS.labels(status).set(found[status])
