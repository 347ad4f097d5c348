"""What an operator asks of a process: is it alive, is it ready and why not, its metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ddstream.rest.reply import json_response, respond

Health = Callable[[], Awaitable[Sequence[str]]]


class Probes:
    """`/livez`, `/readyz` and `/metrics` of whoever tells its health."""

    def __init__(self, health: Health) -> None:
        self._health = health

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
        reasons = list(await self._health())
        return json_response(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics, for Prometheus."""
        return respond(200, generate_latest(), CONTENT_TYPE_LATEST)


def probes(health: Health) -> web.Application:
    """An application of the probes alone, for a process without an API."""
    application = web.Application()
    application.add_routes(Probes(health).routes())
    return application
