"""Flags of the workflows, made from their options: one place says what there is."""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, StrEnum
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from ddstream.commands.workflow.options import Options

_MANY = {"--test-data": re.compile(r"[^-].*"), "--gpuid": re.compile(r"-?\d+(,-?\d+)*")}
"""Flags that take several values in a row, and what the second and later ones look like."""


class WorkflowCommand(TyperCommand):
    """A command some of whose flags take several values: `--test-data A B`, `--gpuid 0 1`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click; values in a row become one flag each."""
        return super().parse_args(ctx, spread(args))


def spread(args: Sequence[str]) -> list[str]:
    """Repeat a flag of several values before each of them.

    >>> spread(["--gpuid", "0", "1", "a.png"])
    ['--gpuid', '0', '--gpuid', '1', 'a.png']
    """
    result: list[str] = []
    rest = deque(args)
    while rest:
        arg = rest.popleft()
        result.append(arg)
        if arg not in _MANY or not rest:
            continue
        result.append(rest.popleft())
        while rest and _MANY[arg].fullmatch(rest[0]):
            result += [arg, rest.popleft()]
    return result


def with_options(options: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of these options; it gets those that were given as `flags`."""
    named = {name: f for name, f in options.model_fields.items() if name not in options.yaml_only}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            flags = {name: given.pop(name) for name in named}
            command(flags={n: _told(v) for n, v in flags.items() if v not in (None, [])}, **given)

        own = inspect.signature(command, eval_str=True).parameters.values()
        kept = [parameter for parameter in own if parameter.name != "flags"]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            kept
            + [_flag(name, field.annotation, field.description) for name, field in named.items()]
        )
        return run

    return decorate


def _flag(name: str, annotation: Any, description: str | None) -> inspect.Parameter:
    dashed = f"--{name.replace('_', '-')}"
    kind = _kind(annotation)
    names = f"{dashed}/--no-{dashed[2:]}" if kind is bool else dashed
    panel = "Results as pictures" if name.startswith("visdom_results") else None
    option = typer.Option(names, help=description, rich_help_panel=panel, show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _kind(annotation: Any) -> Any:
    """What a flag's value is: a word, a number, a path, one of a few words, or several of them."""
    origin = get_origin(annotation)
    if origin in (UnionType, Union):
        (annotation,) = (each for each in get_args(annotation) if each is not NoneType)
        origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin is tuple:
        # Numbers come as words: "0,1" is two of them.
        return list[Path] if get_args(annotation)[0] is Path else list[str]
    if origin is Literal:
        return Enum("Choice", {value: value for value in get_args(annotation)}, type=str)
    return annotation


def _told(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


class FormatFlag(StrEnum):
    """How events are told: all as one array at the end, a line each, or for people."""

    json = "json"
    jsonl = "jsonl"
    text = "text"
