"""The rows of `jobs`: their keys, which of two is the newer one, writing and reading them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from ddstream.api.envelope import Json
from ddstream.api.job import History, JobRecord
from ddstream.api.stream import JobRow
from ddstream.errors import JobNotFound
from ddstream.stream.table import Table
from ddstream.stream.trainings.fitting import fitting
from ddstream.stream.writer import Writer

CHUNK_POINTS = 2000
"""Points of the longest series in one history row."""
CHUNK_VALUES = 500_000
"""Points of all series in one, about: a measure a class makes thousands of them."""

Points = Mapping[str, Sequence[float]]


def job_key(service: str, number: int | str) -> str:
    """The key of a job's row, or of a service's last number (`#`)."""
    return f"{service}/{number}"


def newer(old: Json | None, row: Json) -> bool:
    """Whether a row may follow the one that is there: what an old attempt writes may not.

    Of two workers that claim the same epoch, the one whose row comes first on the topic has it.
    """
    if old is None or old.get("born", "") != row.get("born", ""):
        return True
    before, after = old.get("epoch", 0), row.get("epoch", 0)
    if before != after:
        return bool(after > before)
    same = row.get("holder", "") in ("", old.get("holder", ""))
    return same and row.get("number", 0) >= old.get("number", 0)


def history_of(rows: Mapping[str, Json], service: str, row: JobRow) -> History:
    """The history of a job, from its parts."""
    history = History()
    for chunk in range(row.chunks):
        part = rows.get(f"{job_key(service, row.number)}/{chunk}", {})
        history.extend(part.get("points", {}))
    return history


def chunk_size(points: Points) -> int:
    """Points of the longest series in a row of such a history."""
    return min(CHUNK_POINTS, max(1, CHUNK_VALUES // max(1, len(points))))


def chunks(points: Points) -> Iterator[dict[str, list[float]]]:
    """A history in parts that fit into a record each; at least one."""
    size = chunk_size(points)
    for start in count(0, size):
        part = {
            name: list(values[start : start + size])
            for name, values in points.items()
            if len(values) > start
        }
        if start and not part:
            return
        yield part


class JobRows:
    """Writes the rows of `jobs`; what it has written its reader sees at once."""

    def __init__(self, table: Table, writer: Writer) -> None:
        self.table = table
        self._writer = writer

    def find(self, service: str, number: int) -> JobRow | None:
        """A job's row as it stands; None if there is none."""
        return _job_row(self.table.rows.get(job_key(service, number)))

    def row(self, service: str, number: int) -> JobRow:
        """The same. Raises JobNotFound."""
        row = self.find(service, number)
        if row is None:
            raise JobNotFound(head={"method": "/train", "job": number})
        return row

    def of_partitions(self, partitions: Collection[int]) -> list[JobRow]:
        """The jobs whose commands come on these partitions of `train`."""
        rows = (_job_row(raw) for raw in self.table.rows.values())
        return [row for row in rows if row is not None and row.partition in partitions]

    def last_number(self, service: str, born: str) -> int:
        """The last number that was given to a job of a service; 0 if none was."""
        row = self.table.rows.get(job_key(service, "#"))
        return int(row["number"]) if row and row.get("born", "") == born else 0

    def by_correlation(self, service: str, correlation: str) -> JobRecord | None:
        """The job that a request started."""
        for raw in self.table.rows.values() if correlation else ():
            row = _job_row(raw)
            if row is not None and row.record["correlation_id"] == correlation:
                record = JobRecord.from_json(row.record)
                return record if record.service == service else None
        return None

    async def keep(self, service: str, row: JobRow) -> None:
        """Write a job's row, without what is too large in it."""
        row = fitting(row, self._writer.room)
        await self._put(service, job_key(service, row.number), row.model_dump())

    async def keep_number(self, service: str, row: JobRow) -> None:
        """Write that this job's number is taken."""
        mark = JobRow(number=row.number, partition=row.partition, born=row.born)
        await self._put(service, job_key(service, "#"), mark.model_dump())

    async def claim(self, service: str, row: JobRow) -> bool:
        """Write the row of a next attempt; whether that was the first one to say so."""
        key = job_key(service, row.number)
        await self._write(service, key, row.model_dump())
        await self.table.current()
        found = self.find(service, row.number)
        return found is not None and (found.epoch, found.holder) == (row.epoch, row.holder)

    async def keep_points(self, service: str, row: JobRow, chunk: int, points: Points) -> None:
        """Write a part of a job's history."""
        value = {"born": row.born, "epoch": row.epoch, "holder": row.holder, "points": points}
        await self._write(service, f"{job_key(service, row.number)}/{chunk}", value)

    async def remove_points(self, service: str, number: int, parts: range) -> None:
        """Remove parts of a job's history."""
        for chunk in parts:
            await self._write(service, f"{job_key(service, number)}/{chunk}", None)

    async def erase(self, service: str, row: JobRow) -> None:
        """Remove all rows of a job."""
        key = job_key(service, row.number)
        self.table.rows.pop(key, None)
        await self.remove_points(service, row.number, range(row.chunks))
        await self._write(service, key, None)

    async def forget(self, service: str) -> None:
        """Remove all rows of a service."""
        for key in [key for key in self.table.rows if key.rpartition("/")[0] == service]:
            row = _job_row(self.table.rows.get(key))
            if row is not None:
                await self.erase(service, row)
        self.table.rows.pop(job_key(service, "#"), None)
        await self._write(service, job_key(service, "#"), None)

    async def assert_again(self, key: str) -> None:
        """Write a row once more: one of an older attempt came after it, and must not stay last."""
        if (raw := self.table.rows.get(key)) is not None and (row := _job_row(raw)) is not None:
            await self._write(row.record["service"], key, raw)

    async def _put(self, service: str, key: str, value: Json) -> None:
        # First here: the next command must see it, and it may come while this is written.
        self.table.rows[key] = value
        await self._write(service, key, value)

    async def _write(self, service: str, key: str, value: Any) -> None:
        await self._writer.write_beside(self.table.topic, service, key, value)


def _job_row(raw: Json | None) -> JobRow | None:
    """The row of a job; None for a part of a history, a last number, or nothing."""
    return JobRow.model_validate(raw) if raw and raw.get("record") else None
