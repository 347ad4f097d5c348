"""Whether the cluster answers: a client that waits for a broker in silence tells nobody."""

from __future__ import annotations

import asyncio
import logging
import time

from ddstream.background import Background
from ddstream.stream.connection import TRANSIENT, Connection

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
ANSWER_SECONDS = 3.0
SILENT_SECONDS = 6.0
"""A cluster that has not answered for so long is away."""


class Pulse:
    """Asks the cluster every second on a connection of its own, from `start` to `stop`."""

    def __init__(self, connection: Connection, *, silent: float = SILENT_SECONDS) -> None:
        self._connection = connection
        self._silent = silent
        self._answered = time.monotonic()
        self._background = Background()

    def start(self) -> None:
        """Begin to ask; until the first answer the cluster counts as there."""
        self._answered = time.monotonic()
        self._background.spawn(self._beat())
        self._background.spawn(self._tell())

    async def stop(self) -> None:
        """Ask no more."""
        await self._background.cancel()

    @property
    def problem(self) -> str:
        """That the cluster is away; empty while it answers. It waits for nothing."""
        silence = time.monotonic() - self._answered
        if silence < self._silent:
            return ""
        bootstrap = self._connection.settings.bootstrap
        return f"Kafka at {bootstrap} has not answered for {silence:.0f} s"

    async def _beat(self) -> None:
        while True:
            try:
                async with self._connection.admin() as admin:
                    while True:
                        async with asyncio.timeout(ANSWER_SECONDS):
                            # No topics: the answer names the brokers alone.
                            await admin.describe_topics([])
                        self._answered = time.monotonic()
                        await asyncio.sleep(PERIOD_SECONDS)
            except TRANSIENT as error:
                log.debug("Kafka does not answer: %r", error)
            await asyncio.sleep(PERIOD_SECONDS / 2)

    async def _tell(self) -> None:
        """Say in the log when the cluster goes, and when it comes back."""
        away = False
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            problem = self.problem
            if problem and not away:
                log.error("%s", problem)
            elif away and not problem:
                log.info("Kafka at %s answers again", self._connection.settings.bootstrap)
            away = bool(problem)


class Turning:
    """Whether a loop that should turn all the time does so."""

    def __init__(self, what: str, limit: float) -> None:
        self._what = what
        self._limit = limit
        self._last: float | None = None

    def turned(self) -> None:
        """The loop has begun another turn."""
        self._last = time.monotonic()

    @property
    def problem(self) -> str:
        """That a turn takes more than the limit, in seconds; empty before the first."""
        late = 0.0 if self._last is None else time.monotonic() - self._last
        return f"{self._what} has not been polled for {late:.0f} s" if late > self._limit else ""
