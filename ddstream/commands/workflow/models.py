"""Models: the templates, with what they do, what they read, and their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ddstream.api.parameters import ParameterObject
from ddstream.commands.workflow.events import Events, Format, Printer
from ddstream.commands.workflow.profiles import ELSEWHERE, profile
from ddstream.templates import PARAMETERS, TEMPLATES

Json = dict[str, Any]


def models(name: str | None, form: Format) -> int:
    """Tell of one template, or of all. Raises Unavailable for one that there is not."""
    names = [profile(name, TEMPLATES).name] if name else sorted(TEMPLATES)
    if form == "text":
        _print([described(each) for each in names], detailed=name is not None)
        return 0
    printer = Printer(form)
    events = Events([printer])
    for each in names:
        events("model", **described(each))
    printer.close()
    return 0


def described(name: str) -> Json:
    """What a template does, reads and takes."""
    found = profile(name, TEMPLATES)
    connector = found.defaults["input_parameters"]["connector"]
    return {
        "name": name,
        "task": found.task,
        "connector": connector,
        "data": found.family,
        "parameters": list(_parameters(PARAMETERS.load(name), "")) if name in PARAMETERS else [],
    }


def _parameters(cls: type[ParameterObject], above: str) -> Iterator[Json]:
    """Each parameter, those of objects with the object's name before a dot."""
    for name, field in cls.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, ParameterObject):
            yield from _parameters(inner, f"{above}{name}.")
            continue
        yield {
            "name": above + name,
            "type": kind(field.annotation),
            "default": _default(field),
            "description": field.description or "",
        }


def kind(annotation: Any) -> str:
    """A type in words.

    >>> kind(int | None), kind(tuple[float, ...]), kind(Literal["a", "b"])
    ('int', 'list of float', 'a | b')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(arguments[0])
    if origin in (Union, UnionType):
        return " | ".join(kind(each) for each in arguments if each is not NoneType)
    if origin is Literal:
        return " | ".join(str(each) for each in arguments)
    if origin in (tuple, list):
        inside = dict.fromkeys(kind(each) for each in arguments if each is not Ellipsis)
        return f"list of {' | '.join(inside)}"
    if origin in (dict, Mapping):
        return "object"
    name: str = annotation.__name__
    return {"str": "string", "Any": "any"}.get(name, name)


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True, validated_data={})
    return list(value) if isinstance(value, tuple) else value


def _print(found: list[Json], *, detailed: bool) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    grid = Table("template", "task", "connector", "parameters", box=None)
    for each in found:
        names = ", ".join(parameter["name"] for parameter in each["parameters"])
        grid.add_row(*(Text(each[name]) for name in ("name", "task", "connector")), Text(names))
    console.print(grid)
    if not detailed:
        console.print(Text(f"`NAME` shows one with its parameters; elsewhere: {_ELSEWHERE}"))
        return
    console.print()
    grid = Table("parameter", "type", "default", "description", box=None)
    for parameter in (parameter for each in found for parameter in each["parameters"]):
        cells = ("" if parameter[name] is None else str(parameter[name]) for name in _COLUMNS)
        grid.add_row(*map(Text, cells))
    console.print(grid)


_COLUMNS = ("name", "type", "default", "description")
_ELSEWHERE = f"{', '.join(ELSEWHERE)} need the managed worker"
