"""The outermost layer of the HTTP edge: every error becomes status JSON, every request is seen."""

from __future__ import annotations

import logging
import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ddstream.metrics import HTTP_REQUESTS, HTTP_SECONDS
from ddstream.rest.reply import SERVICE, failed

access_log = logging.getLogger("ddstream.access")

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
    if access_log.isEnabledFor(logging.INFO):
        service = request.get(SERVICE, "") or "<n/a>"
        path, ms = request.rel_url.raw_path, seconds * 1e3
        access_log.info('HTTP/1.1 "%s %s" %s %d %.0fms', method, path, service, code, ms)
