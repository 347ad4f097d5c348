"""What a Python caller gives as parameters becomes what JSON would have carried."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ddstream.api.incoming import MAX_DEPTH
from ddstream.errors import BadRequest

_INTEGERS = range(-(2**63), 2**63)


def native(value: Any, where: str, depth: int = 0) -> Any:
    """The same of objects, lists and plain values: paths are text, numpy's numbers are numbers.

    Raises BadRequest, with the member's name, for what JSON has no word for.
    """
    if depth > MAX_DEPTH:
        raise BadRequest(f"{where[:100]}... is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): native(v, f"{where}.{k}".lstrip("."), depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [native(v, f"{where}.{i}", depth + 1) for i, v in enumerate(value)]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise BadRequest(f"{where} is an integer of more than 64 bits")
        return value
    if isinstance(value, str):
        return _text(value, where)
    raise BadRequest(f"{where} is a {type(value).__name__}, which JSON does not know")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{where} is no text: it has half of a surrogate pair") from None
    return value
