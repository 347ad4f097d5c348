"""A host whose trainings a test drives: it stands for an engine where the plane is the subject."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from ddstream.api.envelope import Answer
from ddstream.api.job import JobChange, JobRecord, JobStatus
from ddstream.api.train import JobStop
from ddstream.errors import JobNotFound
from tests.kafka.echo import EchoHost


@dataclass
class Volume:
    """What all hosts of a test share, as workers share a disk: the checkpoint of each training."""

    losses: dict[str, list[float]] = field(default_factory=dict)


class JobHost(EchoHost):
    """Trainings advance when told; a stopped one saves and ends, unless `stubborn`."""

    def __init__(self, volume: Volume | None = None, *, stubborn: bool = False) -> None:
        super().__init__()
        self.volume = volume or Volume()
        self.stubborn = stubborn
        self.started: list[JobRecord] = []
        self.stopped: list[tuple[str, int]] = []
        self._running: dict[tuple[str, int], tuple[JobRecord, list[float]]] = {}
        self._news: asyncio.Queue[JobChange] = asyncio.Queue()

    async def start_job(self, record: JobRecord) -> JobRecord:
        record = record.evolve(status=JobStatus.RUNNING)
        self.started.append(record)
        losses = list(self.volume.losses.get(record.run, ()))
        self._running[record.service, record.number] = (record, losses)
        self._news.put_nowait(JobChange(record, {"train_loss": losses}, whole=True))
        return record

    def advance(self, service: str, number: int, steps: int, *, save: bool = False) -> None:
        """Do iterations; each loss is its number."""
        record, losses = self._running[service, number]
        new = [float(len(losses) + step) for step in range(steps)]
        losses += new
        record = record.evolve(measure={"iteration": float(len(losses))})
        self._running[service, number] = (record, losses)
        if save:
            self.volume.losses[record.run] = list(losses)
        self._news.put_nowait(JobChange(record, {"train_loss": new}))

    def finish(self, service: str, number: int, **report: Any) -> None:
        """Come to the last iteration, with this in the report."""
        self._end(service, number, JobStatus.FINISHED, **report)

    def stop_job(self, service: str, number: int, *, force: bool = False) -> None:
        if (service, number) not in self._running:
            raise JobNotFound
        self.stopped.append((service, number))
        if not self.stubborn:
            record, losses = self._running[service, number]
            self.volume.losses[record.run] = list(losses)
            self._end(service, number, JobStatus.TERMINATED)

    async def delete_job(self, stop: JobStop) -> Answer:
        return Answer()

    async def unload(self, name: str, clear: str = "mem") -> None:
        for service, number in [key for key in self._running if key[0] == name]:
            self.stop_job(service, number)
        await super().unload(name, clear)

    async def jobs(self) -> AsyncIterator[JobChange]:
        while True:
            yield await self._news.get()

    def _end(self, service: str, number: int, status: JobStatus, **report: Any) -> None:
        record, _ = self._running.pop((service, number))
        record = record.evolve(status=status, ended=record.started + 1, report=report)
        self._news.put_nowait(JobChange(record))
