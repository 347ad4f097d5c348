"""The jobs that a worker holds: those it runs, is about to run, or is giving up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ddstream.api.job import JobRecord
from ddstream.api.stream import JobRow

Key: TypeAlias = tuple[str, int]
"""Service and number of a job."""


@dataclass(slots=True, eq=False)
class HeldJob:
    """One job at one worker, for one attempt."""

    service: str
    row: JobRow
    """The row as this worker last wrote it, or found it."""
    claimed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the attempt is this worker's by its row, or came to nothing."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this worker has nothing to do with it any more."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One change is told at a time."""
    running: bool = False
    """The host has it."""
    lost: bool = False
    """Another worker owns its partition now: it ends here, and goes on there."""
    stop: Literal["", "ask", "force"] = ""
    """What its user wants."""
    chunk: int = 0
    """Number of the last part of its history."""
    points: dict[str, list[float]] = field(default_factory=dict)
    """What that part holds."""
    written: float = 0.0
    """When its row was written, by the monotonic clock."""

    @property
    def key(self) -> Key:
        """Service and number."""
        return self.service, self.row.number

    @property
    def record(self) -> JobRecord:
        """The job as this worker last told of it."""
        return JobRecord.from_json(self.row.record)


class HeldJobs:
    """All of them: `mine` by the last assignment, and `leaving`, which end here for others."""

    def __init__(self) -> None:
        self.mine: dict[Key, HeldJob] = {}
        self.leaving: dict[Key, HeldJob] = {}

    def find(self, key: Key) -> HeldJob | None:
        """Whose changes the host tells: one that is leaving comes before its own successor."""
        return self.leaving.get(key) or self.mine.get(key)

    def busy(self) -> dict[int, int]:
        """The partitions of `mine`, each with the highest epoch among its jobs."""
        found: dict[int, int] = {}
        for held in self.mine.values():
            found[held.row.partition] = max(found.get(held.row.partition, 0), held.row.epoch)
        return found

    def give_up(self, held: HeldJob) -> None:
        """It is another worker's from here on."""
        held.lost = True
        if self.mine.get(held.key) is held:
            del self.mine[held.key]
            self.leaving[held.key] = held

    def drop(self, held: HeldJob) -> None:
        """Nothing is left to do for it."""
        for jobs in (self.mine, self.leaving):
            if jobs.get(held.key) is held:
                del jobs[held.key]
        held.claimed.set()
        held.gone.set()
