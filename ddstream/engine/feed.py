"""The news of jobs for one reader, who may be as slow as he likes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from ddstream.api.job import History, JobChange, JobRecord


@dataclass(slots=True, eq=False)
class JobState:
    """A job as it stands: its newest record and the history of its measures."""

    record: JobRecord
    history: History = field(default_factory=History)


class JobFeed:
    """An iterator over changes of jobs: the newest record, and the points since the last one.

    What happens between two reads comes as one change, so it holds no more than the jobs do.
    Where a job was given another history, the next change carries it whole.
    """

    def __init__(self) -> None:
        self._news: dict[JobState, None] = {}
        self._told: dict[JobState, tuple[History, dict[str, int]]] = {}
        self._woken = asyncio.Event()
        self._closed = False

    def mark(self, job: JobState) -> None:
        """Something about this job is new."""
        if not self._closed:
            self._news[job] = None
            self._woken.set()

    def close(self) -> None:
        """End the iteration after what is new already."""
        self._closed = True
        self._woken.set()

    def __aiter__(self) -> JobFeed:
        return self

    async def __anext__(self) -> JobChange:
        while not self._news:
            if self._closed:
                raise StopAsyncIteration
            self._woken.clear()
            await self._woken.wait()
        job = next(iter(self._news))
        del self._news[job]
        return self._change(job)

    def _change(self, job: JobState) -> JobChange:
        history = job.history
        known, told = self._told.pop(job, (history, {}))
        whole = known is not history
        if not job.record.status.ended:
            lengths = {name: len(values) for name, values in history.series.items()}
            self._told[job] = (history, lengths)
        return JobChange(job.record, _since({} if whole else told, history), whole)


def _since(told: Mapping[str, int], history: History) -> dict[str, list[float]]:
    return {
        name: values[told.get(name, 0) :]
        for name, values in history.series.items()
        if len(values) > told.get(name, 0)
    }
