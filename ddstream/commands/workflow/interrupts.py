"""Interrupts: Ctrl-C and SIGTERM counted instead of raised, while a training is followed."""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENOUGH = 3
"""Interrupts after which nothing more is waited for."""


class Interrupts:
    """Counts the signals that ask to stop, from `with` on; the third raises KeyboardInterrupt.

    It works in the main thread only, as signals do.
    """

    def __init__(self) -> None:
        self.count = 0
        # Of all that one can wait on, this alone may be touched by a signal's handler.
        self._news: SimpleQueue[int] = SimpleQueue()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._heard) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> None:
        """Return after so long, or with the next interrupt."""
        try:
            self._news.get(timeout=seconds)
        except Empty:
            return

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count >= ENOUGH:
            raise KeyboardInterrupt
        self._news.put(number)
