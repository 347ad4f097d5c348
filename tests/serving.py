"""The whole REST API of an engine, served on a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading

from ddstream.engine.engine import Engine
from ddstream.rest.app import app
from ddstream.rest.server import Server
from ddstream.settings import Settings


class Serving:
    """A server at 127.0.0.1 while it is entered, which gives that server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(60)
        return self._server

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with (
            Engine(self._settings) as engine,
            Server(app(engine, self._settings), "127.0.0.1", 0) as self._server,
        ):
            self._ready.set()
            await self._stop.wait()
