"""Where a request comes from: its id, its trace, and the same in its answer."""

from __future__ import annotations

import re
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ddstream.telemetry.origin import CORRELATION, TRACEPARENT, Origin, coming_from, valid
from ddstream.telemetry.spans import Span, spans

REQUEST_ID = "X-Request-Id"
QUIET = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths that are asked all the time and tell nothing of the work."""

_ID = re.compile(r"[\x21-\x7e]{1,128}")
"""What may be taken over into headers of records and lines of logs."""


def traced() -> Middleware:
    """The outermost middleware: what a request does is done in its origin, which it answers with.

    The id is the client's (`X-Request-Id` or `correlation_id`) or a new one. A trace is the
    client's; without one, there is one only where spans go somewhere.
    """

    @web.middleware
    async def arrival(request: web.Request, handler: Handler) -> web.StreamResponse:
        identity, parent = _identity(request), valid(request.headers.get(TRACEPARENT, ""))
        span = Span(parent) if request.path in QUIET else _server_span(request, parent)
        code = 499  # nobody waited for the answer
        try:
            with coming_from(Origin(identity, span.traceparent)):
                response = await handler(request)
            code = response.status
        finally:
            error = f"answered with {code}" if code >= 500 else ""
            span.end(error=error, **{"http.response.status_code": code})
        response.headers[REQUEST_ID] = identity
        if span.traceparent:
            response.headers[TRACEPARENT] = span.traceparent
        return response

    return arrival


def _identity(request: web.Request) -> str:
    given = request.headers.get(REQUEST_ID, "") or request.headers.get(CORRELATION, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(12)


def _server_span(request: web.Request, parent: str) -> Span:
    if not spans.on:
        return Span(parent)
    resource = request.match_info.route.resource
    name = f"{request.method} {resource.canonical}" if resource is not None else request.method
    about = {"http.request.method": request.method, "url.path": request.rel_url.raw_path}
    return spans.begin(name, parent, "server", **about)
