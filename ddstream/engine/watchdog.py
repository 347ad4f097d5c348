"""The watchdog: one task that sees whether a model's pass takes longer than it may."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ddstream.engine.service import Service

CHECK_SECONDS = 0.25


class Watchdog:
    """Checks the lanes of all services; `async with` starts and ends it.

    It runs on the event loop: a pass that holds Python's lock stops it too, and only who asks
    the process from outside can see that.
    """

    def __init__(self) -> None:
        self._services: set[Service] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="watchdog")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def watch(self, service: Service) -> None:
        """Check a service that was started."""
        self._services.add(service)

    def forget(self, service: Service) -> None:
        """Check no more, after the service was stopped; what was lost stays lost."""
        if not service.lane.lost:
            self._services.discard(service)

    def lost(self) -> tuple[str, ...]:
        """Why this process can no longer be trusted; empty while it can."""
        return tuple(sorted(s.lane.lost for s in self._services if s.lane.lost))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for service in self._services:
                service.lane.check()
