"""Which version of each service's model this worker holds."""

from __future__ import annotations

import asyncio
import time

from ddstream.errors import TimedOut

WAIT_SECONDS = 60.0


class Versions:
    """Service -> version, and who waits for one: a request may ask for at least a version."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._changed = asyncio.Condition()

    def reached(self, service: str, version: int | None) -> bool:
        """Whether the model is at least that new."""
        return version is None or self._held.get(service, 0) >= version

    def get(self, service: str) -> int:
        """The version held; 0 if none."""
        return self._held.get(service, 0)

    async def set(self, service: str, version: int | None) -> None:
        """The model is that new now; None: it is gone."""
        async with self._changed:
            if version is None:
                self._held.pop(service, None)
            else:
                self._held[service] = version
            self._changed.notify_all()

    async def wait(self, service: str, version: int | None, deadline: float | None) -> None:
        """Return when the model is that new. Raises TimedOut after 60 s or at the deadline."""
        seconds = WAIT_SECONDS if deadline is None else max(0.0, deadline - time.time())
        try:
            async with asyncio.timeout(min(WAIT_SECONDS, seconds)), self._changed:
                await self._changed.wait_for(lambda: self.reached(service, version))
        except TimeoutError as error:
            raise TimedOut(
                f"version {version} of {service} is not loaded yet (this worker has "
                f"{self.get(service)})"
            ) from error
