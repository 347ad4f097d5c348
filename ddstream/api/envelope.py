"""The envelope of every answer: status, head, body; and how it becomes bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import orjson

from ddstream.errors import DDError

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

Json: TypeAlias = dict[str, Any]

_STATUS_NAMES = {200: "OK", 201: "Created"}


def dumps(value: Any) -> bytes:
    """Standard JSON; numpy values are numbers and lists, NaN and infinities are null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


@dataclass(frozen=True, slots=True)
class Relay:
    """What a network sink answered; the caller gets it instead of the prediction (contract 1.9)."""

    code: int
    content: bytes
    content_type: str = JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the API.

    `text` is the rendered template, if the call had one. `relay` is the sink's answer, if the
    call named a sink: a caller gets that, a results topic keeps the prediction. `encoded` is this
    answer's JSON where it came as bytes, which are passed on as they are.
    """

    code: int = 200
    head: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    text_type: str = TEXT
    relay: Relay | None = None
    encoded: bytes = b""

    def json(self) -> Json:
        """The documented JSON: empty members are left out."""
        answer: Json = {"status": {"code": self.code, "msg": _STATUS_NAMES.get(self.code, "OK")}}
        if self.head:
            answer["head"] = dict(self.head)
        if self.body:
            answer["body"] = dict(self.body)
        return answer

    def payload(self) -> tuple[bytes, str]:
        """The bytes of the prediction and their content type: the template's text, or JSON."""
        if self.text is not None:
            return self.text.encode(), self.text_type
        return self.encoded or dumps(self.json()), JSON

    def for_caller(self) -> tuple[int, bytes, str]:
        """HTTP status, bytes and content type for who called."""
        if self.relay is not None:
            return self.relay.code, self.relay.content, self.relay.content_type
        return self.code, *self.payload()

    def with_head(self, **members: Any) -> Answer:
        """The same answer with more in its head."""
        return replace(self, head={**self.head, **members}, encoded=b"")


def error_json(error: DDError) -> Json:
    """The documented JSON of an error."""
    answer: Json = {"status": error.status()}
    if error.head:
        answer["head"] = dict(error.head)
    return answer


def warned(head: Mapping[str, Any], warnings: list[str]) -> Mapping[str, Any]:
    """`head` with the list of warnings, when there are any."""
    return {**head, "warnings": warnings} if warnings else head
