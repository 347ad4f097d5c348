"""The outermost layer of the HTTP edge: every error becomes status JSON, every request is seen."""

from __future__ import annotations

import logging
import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ddstream.errors import Unauthorized
from ddstream.metrics import HTTP_REFUSED, HTTP_REQUESTS, HTTP_SECONDS
from ddstream.rest.keys import ApiKeys
from ddstream.rest.rates import Rates, place
from ddstream.rest.reply import SERVICE, failed
from ddstream.rest.tracing import QUIET

access_log = logging.getLogger("ddstream.access")

OPEN = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"})
"""Paths that ask for no key: an operator's probes, and what describes the API."""
REFUSALS = {401: "unauthorized", 408: "too_slow", 413: "too_large", 429: "too_many"}
"""Why a request was refused before any work, by its code."""
METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS")


def edge(allow_origin: str) -> Middleware:
    """The middleware; `allow_origin` is the origin for CORS, empty for none."""

    @web.middleware
    async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        response: web.StreamResponse
        try:
            if allow_origin and request.method == "OPTIONS":
                response = _preflight(request)
            else:
                response = await handler(request)
        except Exception as error:
            response = failed(error)
        if allow_origin:
            response.headers["Access-Control-Allow-Origin"] = allow_origin
            response.headers["Vary"] = "Origin"
        _observe(request, response.status, time.perf_counter() - started)
        return response

    return outermost


def guard(keys: ApiKeys, rates: Rates | None) -> Middleware:
    """The middleware that knows who calls, and how often; probes and descriptions are for all.

    Who shows no key that is known is counted by the address, so that keys cannot be tried out.
    """

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN:
            return await handler(request)
        try:
            caller = f"key {keys.owner(request)}" if keys else place(request.remote)
        except Unauthorized:
            if rates is not None:
                rates.take(place(request.remote))
            raise
        if rates is not None:
            rates.take(caller)
        return await handler(request)

    return door


def _preflight(request: web.Request) -> web.Response:
    wanted = request.headers.get("Access-Control-Request-Headers", "Content-Type")
    return web.Response(
        headers={
            "Access-Control-Allow-Methods": ", ".join(METHODS),
            "Access-Control-Allow-Headers": wanted,
        }
    )


def _observe(request: web.Request, code: int, seconds: float) -> None:
    resource = request.match_info.route.resource
    # Paths and methods that exist only in a request must not make new time series.
    route = resource.canonical if resource is not None else "other"
    method = request.method if request.method in METHODS else "other"
    HTTP_REQUESTS.labels(route, method, code).inc()
    HTTP_SECONDS.labels(route, method).observe(seconds)
    if code in REFUSALS:
        HTTP_REFUSED.labels(REFUSALS[code]).inc()
    level = logging.DEBUG if route in QUIET else logging.INFO
    if access_log.isEnabledFor(level):
        service = request.get(SERVICE, "")
        path, ms = request.rel_url.raw_path, seconds * 1e3
        told = {"method": method, "path": path, "code": code, "ms": round(ms, 3)}
        access_log.log(
            level,
            *('HTTP/1.1 "%s %s" %s %d %.0fms', method, path, service or "<n/a>", code, ms),
            extra=told | ({"service": service} if service else {}),
        )
