"""How the names in `output.measure` find their measures (contract 4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

M = TypeVar("M")


class Wanted(NamedTuple):
    """A measure that a request names, and the number behind its dash, if there is one."""

    name: str
    number: float | None


def match(request: str, names: Sequence[str], loose: Sequence[str]) -> Wanted | None:
    """The measure of a family that a request means; None if the family has none.

    A name matches exactly, the names in `loose` also as a part of the request.

    >>> match("acc-5", ["acc", "f1"], ["acc"])
    Wanted(name='acc', number=5.0)
    >>> match("map", ["acc", "f1"], ["acc"]) is None
    True
    """
    base, _, suffix = request.partition("-")
    name = base if base in names else next((part for part in loose if part in base), None)
    return None if name is None else Wanted(name, _number(suffix))


def matched(
    requests: Sequence[str], table: Mapping[str, M], loose: Sequence[str]
) -> Iterator[tuple[str, M, float | None]]:
    """Each request of a family with its measure and its number; other requests are left out."""
    for request in requests:
        wanted = match(request, list(table), loose)
        if wanted is not None:
            yield request, table[wanted.name], wanted.number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
