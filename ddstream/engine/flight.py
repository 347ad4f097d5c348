"""What is in flight in an engine: calls, the bytes that they hold, and who waits for room."""

from __future__ import annotations

import asyncio

from ddstream.api.predict import Call
from ddstream.api.protocol import Capacity
from ddstream.engine.work import Work
from ddstream.errors import TooLarge


class Flight:
    """Counts calls, and their bytes as they are sent and as they are fetched; on the loop."""

    def __init__(self, max_calls: int, max_bytes: int) -> None:
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._calls = 0
        self._nbytes = 0
        self._holding: dict[Work, None] = {}
        """Calls that go on fetching and hold bytes already."""
        self._changed = asyncio.Event()

    def capacity(self) -> Capacity:
        """Calls and bytes in flight against their limits."""
        return Capacity(self._calls, self._nbytes, self._max_calls, self._max_bytes)

    def enter(self, work: Work) -> None:
        """A call is taken."""
        self._calls += 1
        self._nbytes += work.call.nbytes

    def leave(self, work: Work) -> None:
        """A call is answered."""
        self._calls -= 1
        self._nbytes -= work.call.nbytes + work.fetched
        self._changed.set()

    async def change(self) -> None:
        """Return when a call has left since."""
        self._changed.clear()
        await self._changed.wait()

    def fetched(self, work: Work) -> None:
        """A call fetches no more."""
        self._holding.pop(work, None)
        self._changed.set()

    async def room(self, work: Work) -> None:
        """Return when there is room for what a fetch may bring.

        One of the calls that hold a part of their data goes on in any case: without the rest
        none of them would ever be answered and make room.
        """
        while self._nbytes >= self._max_bytes and next(iter(self._holding), None) is not work:
            await self.change()

    def grow(self, work: Work, nbytes: int) -> None:
        """So many bytes were fetched for a call. Raises TooLarge when they fill the engine."""
        self._holding[work] = None
        work.fetched += nbytes
        self._nbytes += nbytes
        if work.fetched > self._max_bytes:
            raise TooLarge(
                f"the data of the request have more than {self._max_bytes} bytes "
                "(DDSTREAM_MAX_IN_FLIGHT_BYTES)"
            )


def sent(call: Call) -> int:
    """The bytes that a call's data have as they were sent; paths and URLs count as text."""
    return sum(
        len(element) if isinstance(element, str | bytes) else getattr(element, "nbytes", 0)
        for element in call.data
    )
