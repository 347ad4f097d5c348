"""Records: how a request becomes a call, and an answer becomes a record (streaming rules, 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from ddstream.api.envelope import JSON, Answer, Json, Relay, dumps, error_json
from ddstream.api.parameters import envelope
from ddstream.api.predict import Call, Done, PredictRequest
from ddstream.errors import BadRequest, DDError, TooLarge, from_status

Headers: TypeAlias = Sequence[tuple[str, bytes]]

CORRELATION, REPLY_TO, CONTENT_TYPE = "correlation_id", "reply_to", "content-type"
URI, DEADLINE, VERSION = "dd-uri", "dd-deadline", "dd-model-version"
STATUS, ERROR_CODE, SERVICE, SOURCE = "dd-status", "dd-error-code", "dd-service", "dd-source"
CLAIM = "dd-claim"
_OURS = frozenset(
    (REPLY_TO, CONTENT_TYPE, URI, DEADLINE, VERSION, STATUS, ERROR_CODE, SERVICE, SOURCE, CLAIM)
)
"""Headers that an answer does not carry on from its request; correlation and trace it does."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written: what the answer to a request becomes."""

    key: bytes | None
    value: bytes
    headers: Headers


def text(headers: Mapping[str, bytes], name: str) -> str:
    """A header's text; empty if it is missing. Raises BadRequest if it is not ASCII."""
    value = headers.get(name)
    if not value:
        return ""
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadRequest(f"header {name} is not ASCII") from error


def number(headers: Mapping[str, bytes], name: str) -> int | None:
    """A header's integer; None if it is missing. Raises BadRequest for anything else."""
    value = text(headers, name)
    if not value:
        return None
    try:
        return int(value)
    except ValueError as error:
        raise BadRequest(f"header {name} is not an integer: {value[:40]!r}") from error


def source(record: Any) -> str:
    """Where a record lies: topic/partition/offset."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def to_call(record: Any, service: str, limit: int, done: Done) -> Call:
    """The call of a predict record. Raises BadRequest or TooLarge for what cannot be one."""
    headers = dict(record.headers)
    value: bytes = record.value or b""
    if len(value) > limit:
        raise TooLarge(f"the record has {len(value)} bytes, DDSTREAM_MAX_REQUEST_BYTES is {limit}")
    deadline = number(headers, DEADLINE)
    call = Call(service, (), done, headers=headers, nbytes=len(value))
    call.deadline = None if deadline is None else deadline / 1000
    kind = text(headers, CONTENT_TYPE).partition(";")[0].strip().lower()
    if kind in ("", JSON):
        request = parse_request(value, service)
        call.data, call.parameters = request.data, request.parameters
    else:
        call.raw, call.data = True, (value,)
        call.uris = (text(headers, URI) or text(headers, CORRELATION) or source(record),)
    return call


def parse_request(value: bytes, service: str) -> PredictRequest:
    """A predict request of the documented JSON; its `service` may be left out on a topic."""
    try:
        raw = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the value is no JSON: {error}") from error
    if isinstance(raw, dict):
        raw.setdefault("service", service)
    request = envelope(PredictRequest, raw)
    if request.service.lower() != service.lower():
        raise BadRequest(f"the record names service {request.service!r}, its topic {service!r}")
    return request


def prediction(answer: Answer | DDError, record: Any, service: str) -> Outgoing:
    """The record for the results topic: the prediction (never a sink's answer), or the error."""
    if isinstance(answer, DDError):
        return outgoing(answer, record, service)
    content, kind = answer.payload()
    return _told(answer, _outgoing(record, service, Relay(answer.code, content, kind), None))


def outgoing(answer: Answer | DDError, record: Any, service: str) -> Outgoing:
    """The record for who asked: the sink's answer if there was one."""
    if isinstance(answer, DDError):
        relay = Relay(answer.code, dumps(error_json(answer)))
        return _outgoing(record, service, relay, answer.dd_code)
    return _told(answer, _outgoing(record, service, Relay(*answer.for_caller()), None))


def _told(answer: Answer, out: Outgoing) -> Outgoing:
    """With a header that says where the content is kept, if the answer only tells of it."""
    if answer.relay is not None or "claim" not in answer.head:
        return out
    url = str(answer.head["claim"]["url"])
    return Outgoing(out.key, out.value, [*out.headers, (CLAIM, url.encode())])


def _outgoing(record: Any, service: str, relay: Relay, dd_code: int | None) -> Outgoing:
    request_headers: Iterable[tuple[str, bytes]] = record.headers
    headers = [(name, value) for name, value in request_headers if name not in _OURS]
    headers += (
        (CONTENT_TYPE, relay.content_type.encode()),
        (STATUS, b"%d" % relay.code),
        (SERVICE, service.encode("ascii", "backslashreplace")),
        (SOURCE, source(record).encode()),
    )
    if dd_code is not None:
        headers.append((ERROR_CODE, b"%d" % dd_code))
    version = dict(request_headers).get(VERSION)
    if version:
        headers.append((VERSION, version))
    return Outgoing(record.key, relay.content, headers)


def with_version(record: Outgoing, version: int) -> Outgoing:
    """The record with the version of the model that answered."""
    headers = [header for header in record.headers if header[0] != VERSION]
    return Outgoing(record.key, record.value, [*headers, (VERSION, b"%d" % version)])


def from_reply(value: bytes, headers: Mapping[str, bytes]) -> Answer:
    """The answer in a reply's record. Raises the DDError that it carries."""
    kind = headers.get(CONTENT_TYPE, JSON.encode()).decode()
    code = int(headers.get(STATUS, b"200"))
    if kind != JSON:
        return Answer(code, relay=Relay(code, value, kind))
    body: Json = orjson.loads(value)
    status = body.get("status") if isinstance(body, dict) else None
    if code >= 400 and isinstance(status, dict):
        raise from_status(status, body.get("head"))
    if not isinstance(status, dict):
        return Answer(code, relay=Relay(code, value, kind))
    head, inner = body.get("head", {}), body.get("body", {})
    if CLAIM in headers:
        # Who asked gets what is kept, not this.
        return Answer(code, head, inner)
    return Answer(code, head, inner, encoded=value)
