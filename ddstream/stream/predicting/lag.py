"""How far a worker is behind, in records and in seconds, by topic and partition."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from prometheus_client import Gauge

from ddstream import metrics
from ddstream.background import Background
from ddstream.stream.connection import TRANSIENT

log = logging.getLogger(__name__)

Labels: TypeAlias = tuple[str, str]
"""Topic and partition."""

PERIOD_SECONDS = 3.0
ANSWER_SECONDS = 5.0


class Behind(Protocol):
    """A predict loop, as far as its lag can be told from it."""

    @property
    def topic(self) -> str:
        """The topic that it consumes."""

    def positions(self) -> Sequence[tuple[int, int, int | None]]:
        """Of each assigned partition: its number, the offset up to which all is answered, and the
        timestamp of the oldest record that is taken and not answered, in Unix milliseconds."""

    async def ends(self) -> Mapping[Any, int]:
        """The end offset of every partition; asks the broker. A key has its number as
        `partition`."""


class LagMonitor:
    """Keeps the gauges of lag for the loops of a worker, from `start` to `stop`.

    What cannot be known now, since the broker is away or the partition belongs to another worker,
    has no series: a gauge that stands still would be taken for the truth.
    """

    def __init__(self, loops: Callable[[], Iterable[Behind]]) -> None:
        self._loops = loops
        self._background = Background()
        self._records, self._seconds = Series(metrics.LAG_RECORDS), Series(metrics.LAG_SECONDS)
        self._stuck: dict[Labels, tuple[int, float]] = {}

    def start(self) -> None:
        """Begin to measure, every `PERIOD_SECONDS`."""
        self._background.spawn(self._run())

    async def stop(self) -> None:
        """Measure no more; the series go."""
        await self._background.cancel()
        self._forget()

    async def measure(self) -> None:
        """Measure once; returns within seconds, whatever the broker does."""
        loops = list(self._loops())
        records: dict[Labels, float] = {}
        seconds: dict[Labels, float] = {}
        for loop, ends in zip(loops, await asyncio.gather(*map(_end_offsets, loops)), strict=True):
            for number, position, oldest in loop.positions():
                labels = (loop.topic, str(number))
                behind = None
                if ends is not None:
                    # The end was asked for before the position was read: it may be behind it.
                    behind = records[labels] = max(0, ends.get(number, position) - position)
                age = self._age(labels, position, oldest, behind)
                if age is not None:
                    seconds[labels] = age
        self._records.show(records)
        self._seconds.show(seconds)

    async def _run(self) -> None:
        while True:
            try:
                await self.measure()
            except Exception:
                log.exception("the lag cannot be measured")
                self._forget()
            await asyncio.sleep(PERIOD_SECONDS)

    def _age(
        self, labels: Labels, position: int, oldest: int | None, behind: int | None
    ) -> float | None:
        """Seconds since the oldest unanswered record was made; None if nobody can know."""
        now = time.time()
        if oldest is not None or behind == 0:
            self._stuck.pop(labels, None)
            return 0.0 if oldest is None else max(0.0, now - oldest / 1000)
        if behind is None:
            return None
        # Records lie there and none is taken: their age is at least the time that this is so.
        since = self._stuck.get(labels)
        if since is None or since[0] != position:
            since = self._stuck[labels] = (position, now)
        return now - since[1]

    def _forget(self) -> None:
        self._records.show({})
        self._seconds.show({})


class Series:
    """The series of a gauge that are true now; all others go."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._shown: set[Labels] = set()

    def show(self, values: Mapping[Labels, float]) -> None:
        """These are the values now."""
        for labels in self._shown - values.keys():
            self._gauge.remove(*labels)
        self._shown = set(values)
        for labels, value in values.items():
            self._gauge.labels(*labels).set(value)


async def _end_offsets(loop: Behind) -> dict[int, int] | None:
    """The end offsets by partition; None if the broker does not tell them in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return {tp.partition: end for tp, end in (await loop.ends()).items()}
    except TRANSIENT as error:
        log.debug("no end offsets of %s: %r", loop.topic, error)
        return None
