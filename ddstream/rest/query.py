"""Query strings as the reference reads them (contract 0.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ddstream.api.envelope import Json
from ddstream.api.incoming import MAX_DEPTH
from ddstream.errors import BadRequest

TEXTS = frozenset({"service", "clear"})
"""Members that are text whatever they look like: a service may be named `42`."""

_NUMBER = re.compile(r"\s*([+-]?\d{1,18})")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class QueryError(BadRequest):
    """A query member is no boolean: the reference answers this one with a spelling of its own."""

    msg, dd_code = "Bad request", 400


def query_json(query: Mapping[str, str]) -> Json:
    """The JSON of a query: dots nest; `true`, `false` and numbers are typed.

    Raises BadRequest where a member is both a value and an object, or lies too deep.
    """
    result: Json = {}
    for name, text in query.items():
        *path, last = name.split(".")
        if len(path) >= MAX_DEPTH:
            raise BadRequest(f"query: {name[:40]}... is nested more than {MAX_DEPTH} levels deep")
        place: Any = result
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise BadRequest(f"query: {name[:100]} lies below a value")
        if isinstance(place.get(last), dict):
            raise BadRequest(f"query: {name[:100]} is an object and a value")
        place[last] = text if name in TEXTS else _value(text)
    return result


def boolean(query: Mapping[str, str], name: str, default: bool) -> bool:
    """A boolean member of a query. Raises QueryError for anything but true, false, 1, 0."""
    text = query.get(name)
    if text is None:
        return default
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise QueryError(f"{name} must be a boolean value") from None


def unread(query: Iterable[str], known: Iterable[str]) -> list[str]:
    """A warning for each member of a query that nothing reads."""
    return [f"{name[:100]} is unknown and was ignored" for name in query if name not in known]


def _value(text: str) -> str | bool | int:
    if any(character.isalpha() for character in text):
        folded = text.lower()
        return folded == "true" if folded in ("true", "false") else text
    number = _NUMBER.match(text)
    return int(number[1]) if number else 0
