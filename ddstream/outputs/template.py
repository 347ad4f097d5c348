"""Mustache templates over the JSON of an answer; they reach its values and nothing else.

chevron cuts the template into tags. Rendering is done here, because chevron's own also follows
Python attributes and calls what it finds, and its token cache has no bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import orjson
from chevron.tokenizer import ChevronError, tokenize

from ddstream.api.envelope import dumps
from ddstream.errors import ParameterError

MAX_LENGTH = 1 << 16
"""Characters of a template: cutting it takes time that grows with the square of its length."""
MAX_DEPTH = 32
"""Sections in each other."""
MAX_STEPS = 1_000_000
"""Tags and texts of one rendering; sections in each other multiply."""

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


@dataclass(frozen=True, slots=True)
class _Section:
    key: str
    inverted: bool
    nodes: Nodes


@dataclass(frozen=True, slots=True)
class _Variable:
    key: str
    escaped: bool


Nodes: TypeAlias = Sequence["str | _Variable | _Section"]


def render(template: str, document: Mapping[str, Any]) -> str:
    """The text of a template over an answer's JSON. Raises ParameterError for a broken template.

    Floats print as `%.6g`, null as nothing, an object or a list as JSON.
    """
    # What the caller would read, not what we hold: numpy values become numbers, NaN null.
    plain = orjson.loads(dumps(document))
    rendering = _Rendering()
    rendering.add(parse(template), [plain])
    return "".join(rendering.pieces)


@lru_cache(maxsize=32)
def parse(template: str) -> Nodes:
    """The tree of a template. Raises ParameterError if it is broken or too large."""
    if len(template) > MAX_LENGTH:
        raise ParameterError(f"output.template is longer than {MAX_LENGTH} characters")
    try:
        return _tree(tokenize(template), 0)
    except (ChevronError, IndexError) as error:
        reason = " ".join(str(error).split()) if isinstance(error, ChevronError) else "empty tag"
        raise ParameterError(f"output.template: {reason}") from error


def _tree(tokens: Iterator[tuple[str, str]], depth: int) -> Nodes:
    if depth > MAX_DEPTH:
        raise ParameterError(f"output.template has more than {MAX_DEPTH} sections in each other")
    nodes: list[str | _Variable | _Section] = []
    for tag, key in tokens:
        if tag == "end":
            break
        if tag == "literal":
            nodes.append(key)
        elif tag in ("variable", "no escape", "no escape?"):
            nodes.append(_Variable(key, tag == "variable"))
        elif tag in ("section", "inverted section"):
            nodes.append(_Section(key, tag != "section", _tree(tokens, depth + 1)))
        elif tag == "partial":
            raise ParameterError(f"output.template: partial {key[:100]!r} is not supported")
    return tuple(nodes)


class _Rendering:
    """One pass over a tree: its pieces of text, and the count of its steps."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._steps = 0

    def add(self, nodes: Nodes, scopes: list[Any]) -> None:
        """Render `nodes`; the innermost scope is the last."""
        self._steps += len(nodes)
        if self._steps > MAX_STEPS:
            raise ParameterError(f"output.template takes more than {MAX_STEPS} steps")
        for node in nodes:
            if isinstance(node, str):
                self.pieces.append(node)
            elif isinstance(node, _Variable):
                text = _text(_lookup(node.key, scopes))
                self.pieces.append(text.translate(_ESCAPES) if node.escaped else text)
            else:
                self._section(node, scopes)

    def _section(self, section: _Section, scopes: list[Any]) -> None:
        value = _lookup(section.key, scopes)
        if section.inverted:
            if not value:
                self.add(section.nodes, scopes)
        elif value:
            for item in value if isinstance(value, list) else (value,):
                self.add(section.nodes, [*scopes, item])


def _lookup(key: str, scopes: list[Any]) -> Any:
    if key == ".":
        return scopes[-1]
    first, *rest = key.split(".")
    for scope in reversed(scopes):
        if isinstance(scope, dict) and first in scope:
            value = scope[first]
            for step in rest:
                value = _member(value, step)
            return value
    return None


def _member(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return orjson.dumps(value).decode()
