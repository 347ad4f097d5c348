"""What a template is, and how its parameters are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from ddstream.api.parameters import ParameterObject
from ddstream.errors import ParameterError

if TYPE_CHECKING:
    from torch import nn


class Template(Protocol):
    """Builds a model with fresh weights."""

    def __call__(self, outputs: int, params: Mapping[str, Any]) -> nn.Module:
        """A model with `outputs` classes or targets; 0 leaves their number to the template.

        `params` is the raw `template_params`. Raises ParameterError for one that it cannot use.
        """


class ClassifierParameters(ParameterObject):
    """`template_params` of a template that has no other options than the size of its head."""

    nclasses: int | None = Field(default=None, ge=1, description="Classes, if not in `mllib`.")

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> ClassifierParameters:
        """The typed parameters. Raises ParameterError for an unknown or a wrong one."""
        found = cls.parse(raw, "template_params", ParameterError)
        if found.model_extra:
            unknown, known = ", ".join(found.model_extra), ", ".join(cls.model_fields)
            raise ParameterError(f"unknown template_params: {unknown}; there is: {known}")
        return found

    def outputs(self, asked: int, default: int) -> int:
        """The size of the head. Raises ParameterError if it is given twice and not the same."""
        if asked and self.nclasses and asked != self.nclasses:
            raise ParameterError(
                f"template_params.nclasses is {self.nclasses}, but {asked} outputs are asked for"
            )
        return asked or self.nclasses or default
