"""Attempts: how often records were taken by a worker that died, and the quarantine that finds
which of them kills.

The count lives in the metadata of the group's commits, so that it survives the worker. Every
commit says 1: somebody works on what follows. Who takes the partition over finds it, and says
one more before it submits anything; who leaves in peace takes the count away. At MOST the range is
run one by one, each record alone in its worker, and each announced by a commit: a death then
names its culprit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson

from ddstream.api.protocol import Host

MOST = 3
"""Deaths after which a range is run one by one."""
_NAME = "attempts"


@dataclass(frozen=True, slots=True)
class Attempts:
    """What a commit says of the records behind it.

    `count` workers took them; `alone`: the first of them was run alone.
    """

    count: int = 0
    alone: bool = False

    @classmethod
    def parse(cls, metadata: str | None) -> Attempts:
        """From a commit's metadata; anything that is not ours counts as no attempt."""
        try:
            raw = orjson.loads(metadata or "{}")
            return cls(int(raw.get(_NAME, 0)), bool(raw.get("alone", False)))
        except (ValueError, AttributeError, TypeError):
            return cls()

    @property
    def suspicious(self) -> bool:
        """The records behind the commit have to be run one by one."""
        return self.count >= MOST

    def more(self) -> Attempts:
        """One worker more took them."""
        return Attempts(self.count + 1, self.alone)

    def __str__(self) -> str:
        if not self.count:
            return ""
        raw = {_NAME: self.count, **({"alone": True} if self.alone else {})}
        return orjson.dumps(raw).decode()


WORKING = str(Attempts(1))
"""Metadata of a commit behind which a worker goes on."""


class Quarantine:
    """Lets one record at a time run alone in the whole worker, whatever its service."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._turn = asyncio.Lock()
        self._free = asyncio.Event()
        self._free.set()

    @property
    def active(self) -> bool:
        """A record runs alone: nothing else may be submitted."""
        return not self._free.is_set()

    async def over(self) -> None:
        """Return when nothing runs alone."""
        await self._free.wait()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Wait until the host is empty, and keep it so for others."""
        async with self._turn:
            self._free.clear()
            try:
                while self._host.capacity().calls:  # noqa: ASYNC110 - the host has no event for it
                    await asyncio.sleep(0.005)
                yield
            finally:
                self._free.set()
