"""Replies: how answers and errors become HTTP responses."""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus

from aiohttp import web

from ddstream.api.envelope import JSON, Answer, Json, dumps, error_json
from ddstream.errors import (
    BadRequest,
    DDError,
    InternalError,
    SlowRequest,
    TooLarge,
    TooManyRequests,
    Unauthorized,
)

log = logging.getLogger(__name__)

SERVICE = web.RequestKey("service", str)
"""Where a request keeps the service's name for the access log."""

_WORTH_COMPRESSING = 1024


def answered(request: web.Request, answer: Answer) -> web.Response:
    """The response of an answer."""
    request[SERVICE] = str(answer.head.get("service", ""))
    code, content, content_type = answer.for_caller()
    return respond(code, content, content_type)


def json_response(code: int, value: Json) -> web.Response:
    """A response of JSON."""
    return respond(code, dumps(value), JSON)


def respond(code: int, content: bytes, content_type: str) -> web.Response:
    """A response of bytes; it is compressed if it is long and the client takes that."""
    response = web.Response(status=code, body=content, headers={"Content-Type": content_type})
    if len(content) >= _WORTH_COMPRESSING:
        response.enable_compression()
    return response


def failed(error: Exception) -> web.Response:
    """The response of whatever a route raised: always the status JSON."""
    if isinstance(error, web.HTTPException):
        if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return failed(too_large())
        return _routing_error(error)
    if isinstance(error, web.RequestPayloadError | ConnectionError):
        response = failed(BadRequest(f"the body cannot be read: {error}"))
        response.force_close()
        return response
    if not isinstance(error, DDError):
        number = secrets.token_hex(4)
        log.error("error %s: a request failed", number, exc_info=error)
        error = InternalError(f"internal error {number}")
    response = json_response(error.code, error_json(error))
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, SlowRequest | TooLarge):
        # What is left of the body would be taken for the next request, or read for nothing.
        response.force_close()
    return response


def too_large() -> TooLarge:
    """The error of a body over the limit."""
    return TooLarge("the body is longer than DDSTREAM_MAX_REQUEST_BYTES allows")


def status_json(code: int, detail: str) -> Json:
    """The status object of an error that is HTTP's, not the API's (contract 0.4)."""
    return {"status": {"code": code, "msg": f"{HTTPStatus(code).phrase}: {detail}"}}


def _routing_error(error: web.HTTPException) -> web.Response:
    detail = error.text if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
    words = {404: "there is no such path", 405: "this path has no such method"}
    code = error.status
    response = json_response(code, status_json(code, detail or words.get(code, error.reason)))
    for name in ("Allow", "Location"):
        if name in error.headers:
            response.headers[name] = error.headers[name]
    return response
