"""JSON from outside: parsed strictly, and bounded in depth."""

from __future__ import annotations

from typing import Any

import orjson

from ddstream.errors import BadRequest

MAX_DEPTH = 64
"""Levels of objects and lists; the document's own requests have six."""


def loads(content: bytes | bytearray | memoryview) -> Any:
    """The value of a JSON text. Raises BadRequest for no JSON, bad UTF-8, or too deep nesting."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    text = bytes(content) if isinstance(content, memoryview) else content
    # Counting brackets is cheap and an upper bound: only a suspect is measured.
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise BadRequest(f"the body is nested more than {MAX_DEPTH} levels deep")
    return value


def _deeper_than(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
