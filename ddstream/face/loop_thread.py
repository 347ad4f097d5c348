"""An Api on an event loop of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ddstream.api.protocol import Api

T = TypeVar("T")

log = logging.getLogger(__name__)

_AT_EXIT = 10.0
"""Seconds that the exit of the interpreter waits for the Api to stop."""

Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[Api]]
"""Makes an Api that starts and stops with `async with`."""


@dataclass(frozen=True, slots=True)
class _Running:
    api: Api
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


class LoopThread:
    """Runs an Api on a daemon thread from its first use until `close`; no fork takes it along."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running: Future[_Running] = Future()
        self._closed = False

    def run(self, ask: Callable[[Api], Coroutine[Any, Any, T]]) -> T:
        """Wait for what `ask` makes of the Api. Raises RuntimeError after `close`, and in a process
        that was forked from the one that made it."""
        if os.getpid() != self._process:
            # The thread is not here: nobody would ever answer.
            raise RuntimeError("it was made before a fork: make another one in this process")
        with self._lock:
            if self._closed:
                raise RuntimeError("it is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=asyncio.run, args=(self._live(),), name="ddstream", daemon=True
                )
                self._thread.start()
        running = self._running.result()
        future = asyncio.run_coroutine_threadsafe(ask(running.api), running.loop)
        try:
            return future.result()
        except BaseException:
            # An interrupted caller waits no more, so the work need not go on.
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the Api and its thread; again, or after a fork, it does nothing."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None and self._running.exception() is None:
            running = self._running.result()
            running.loop.call_soon_threadsafe(running.stop.set)
            thread.join(_AT_EXIT if _exiting() else None)

    async def _live(self) -> None:
        stop = asyncio.Event()
        try:
            async with self._opening() as api:
                self._running.set_result(_Running(api, asyncio.get_running_loop(), stop))
                await stop.wait()
        except BaseException as error:
            if not self._running.done():
                self._running.set_exception(error)
            elif _exiting():
                log.debug("not everything could be stopped at exit", exc_info=True)
            else:
                raise


def _exiting() -> bool:
    # At exit Python has ended its thread pools before it calls us, so an orderly stop may fail;
    # the process frees what is left.
    return not threading.main_thread().is_alive()
