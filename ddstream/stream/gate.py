"""A bridge's own limit: more predict calls than it may hold are refused, not piled up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ddstream.api.predict import PredictRequest
from ddstream.api.protocol import Capacity
from ddstream.errors import TooManyRequests
from ddstream.settings import Settings


class Gate:
    """Counts the calls that wait for their answer, and the bytes that they hold."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._calls = 0
        self._nbytes = 0

    def capacity(self) -> Capacity:
        """Calls and bytes in flight, against `max_in_flight` and `max_in_flight_bytes`."""
        limits = self._settings
        return Capacity(self._calls, self._nbytes, limits.max_in_flight, limits.max_in_flight_bytes)

    @contextmanager
    def admitted(self, request: PredictRequest) -> Iterator[None]:
        """Count a request until the end of `with`. Raises TooManyRequests when all is full."""
        if self.capacity().full:
            raise TooManyRequests
        nbytes = sum(len(e) for e in request.data if isinstance(e, str | bytes))
        self._calls += 1
        self._nbytes += nbytes
        try:
            yield
        finally:
            self._calls -= 1
            self._nbytes -= nbytes
