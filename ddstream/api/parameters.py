"""Parameter objects: how raw JSON becomes a typed, frozen object, and what is said on the way."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ddstream.errors import BadRequest, DDError

log = logging.getLogger(__name__)

P = TypeVar("P", bound="ParameterObject")

_CLASS = re.compile(r"a valid dictionary or instance of \w+")
"""What pydantic calls an object; nobody outside knows our classes."""


def present(raw: Any) -> Any:
    """`raw` without members that are null or `[]`: the contract takes them as absent (0.1)."""
    if not isinstance(raw, Mapping):
        return raw
    return {k: present(v) for k, v in raw.items() if v is not None and v != []}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the members of `over` on top; objects merge, lists and values replace."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[name] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def listed(value: Any) -> Any:
    """A single value where a list may stand becomes a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Numbers = Annotated[tuple[float, ...], BeforeValidator(listed)]
Integers = Annotated[tuple[int, ...], BeforeValidator(listed)]
Strings = Annotated[tuple[str, ...], BeforeValidator(listed)]


class ParameterObject(BaseModel):
    """Base of the objects below `parameters`: frozen, keeps unknown keys to warn of them.

    `refused` names options that the document lists and this version cannot do; giving one a value
    that is not its neutral value (as listed) is refused by name.
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", strict=True, protected_namespaces=(), allow_inf_nan=False
    )

    refused: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def parse(cls, raw: Mapping[str, Any], where: str, error: type[DDError]) -> Self:
        """The typed object of `raw`. Raises `error` with the parameter's name and the reason."""
        raw = present(raw)
        for name, neutral in cls.refused.items():
            if name in raw and raw[name] != neutral:
                raise error(f"{where}.{name} is not supported")
        try:
            return cls.model_validate(raw)
        except ValidationError as invalid:
            raise error(explain(invalid, where)) from invalid

    def typed(self) -> dict[str, Any]:
        """Every known member with its value, defaults included; unknown keys are left out."""
        return {
            name: value.typed() if isinstance(value, ParameterObject) else value
            for name in type(self).model_fields
            if (value := getattr(self, name)) is not None
        }

    def unknown(self, where: str) -> list[str]:
        """A warning for each key that nothing reads, nested objects included."""
        extra = self.model_extra or {}
        warnings = [f"{where}.{name} is unknown and was ignored" for name in extra]
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, ParameterObject):
                warnings += value.unknown(f"{where}.{name}")
        return [
            warning for warning in warnings if warning.split(" ")[0] not in self._refused_at(where)
        ]

    def _refused_at(self, where: str) -> set[str]:
        # A documented option at its neutral value asks for nothing: no warning.
        return {f"{where}.{name}" for name in self.refused}


def explain(invalid: ValidationError, where: str) -> str:
    """The first errors of a validation in one line: which member, what is wrong."""
    parts = []
    for error in invalid.errors(include_url=False, include_context=False)[:3]:
        path = ".".join(str(step) for step in (where, *error["loc"]) if step != "")
        said = _CLASS.sub("an object", error["msg"].removeprefix("Value error, "))
        parts.append(f"{path}: {said[:1].lower()}{said[1:]}")
    return "; ".join(parts)


def envelope(cls: type[P], raw: Any) -> P:
    """The typed request of `raw`. Raises BadRequest for a wrong shape."""
    if not isinstance(raw, Mapping):
        raise BadRequest("the body must be a JSON object")
    try:
        return cls.model_validate(present(raw))
    except ValidationError as invalid:
        raise BadRequest(explain(invalid, "")) from invalid
