"""What an operator asks of a process: is it alive, is it ready and why not, its metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ddstream.metrics import INFO, READY
from ddstream.rest.reply import json_response, respond
from ddstream.version import __version__

log = logging.getLogger(__name__)

Health = Callable[[], Awaitable[Sequence[str]]]
Notes = Callable[[], Sequence[str]]

HEALTH_SECONDS = 3.0
"""A check of health that takes longer is itself a reason."""


class Probes:
    """`/livez`, `/readyz` and `/metrics` of whoever tells its health.

    `notes` are worth knowing, and no reason not to serve.
    """

    def __init__(self, health: Health, notes: Notes = tuple) -> None:
        self._health = health
        self._notes = notes
        INFO.info({"version": __version__})

    def routes(self) -> list[web.RouteDef]:
        """The three routes."""
        return [
            web.get("/livez", self.livez),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
        ]

    async def livez(self, request: web.Request) -> web.Response:
        """GET /livez: the process answers."""
        return json_response(200, {"live": True})

    async def readyz(self, request: web.Request) -> web.Response:
        """GET /readyz: whether requests can be served, and why not."""
        reasons = await self._reasons()
        told = {"ready": not reasons, "reasons": reasons, "notes": list(self._notes())}
        return json_response(503 if reasons else 200, told)

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics, for Prometheus."""
        READY.set(not await self._reasons())
        return respond(200, generate_latest(), CONTENT_TYPE_LATEST)

    async def _reasons(self) -> list[str]:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                return list(await self._health())
        except TimeoutError:
            return [f"the check of health did not end in {HEALTH_SECONDS:g} s"]
        except Exception as error:
            log.exception("the check of health failed")
            return [f"the check of health failed: {type(error).__name__}"]


def probes(health: Health, notes: Notes = tuple) -> web.Application:
    """An application of the probes alone, for a process without an API."""
    application = web.Application()
    application.add_routes(Probes(health, notes).routes())
    return application
