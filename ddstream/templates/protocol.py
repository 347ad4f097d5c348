"""What a template is, and how its parameters are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self

from pydantic import Field

from ddstream.api.parameters import ParameterObject
from ddstream.data import Dimensions
from ddstream.errors import ParameterError

if TYPE_CHECKING:
    from torch import nn


Family = Literal["images", "boxes", "masks", "letters", "series", "tokens", "tables"]
"""What a template learns from: images alone, images with boxes, with masks or with texts; series,
texts, or rows of numbers."""

DEEPEST: Final = 1000
"""Most layers of a stack: more would be built for hours, or until there is no memory."""


class Template(Protocol):
    """Builds a model with fresh weights, whose `forward` keeps to contract 5.8."""

    def __call__(self, dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
        """A model for samples of these dimensions; `params` is the raw `template_params`.

        Raises ParameterError for a parameter that it cannot use, Unbuilt for a size that it needs
        and that is not known.
        """


class Unbuilt(ParameterError):
    """The model waits for its first training: a size is not known before there are data."""


class TemplateParameters(ParameterObject):
    """`template_params`: an unknown one is an error that lists what there is."""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """The typed parameters. Raises ParameterError for an unknown or a wrong one."""
        found = cls.parse(raw, "template_params", ParameterError)
        if unknown := found.unlisted():
            given, known = ", ".join(unknown), ", ".join(cls.model_fields) or "nothing"
            raise ParameterError(f"unknown template_params: {given}; there is: {known}")
        return found

    def unlisted(self) -> list[str]:
        """Names that no field has, dotted where they stand in an object."""
        names = list(self.model_extra or {})
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, ParameterObject):
                names += [f"{name}.{extra}" for extra in value.model_extra or {}]
        return names


def image_size(dimensions: Dimensions, template: str) -> tuple[int, int]:
    """Height and width of all images of a template that is built for one size.

    Raises ParameterError if they follow the image.
    """
    if not dimensions.height or not dimensions.width:
        raise ParameterError(f"{template} needs images of one size: set width and height")
    return dimensions.height, dimensions.width


class ClassifierParameters(TemplateParameters):
    """`template_params` of a template that has no other options than the size of its head."""

    nclasses: int | None = Field(default=None, ge=1, description="Classes, if not in `mllib`.")

    def outputs(self, asked: int, default: int) -> int:
        """The size of the head. Raises ParameterError if it is given twice and not the same."""
        if asked and self.nclasses and asked != self.nclasses:
            raise ParameterError(
                f"template_params.nclasses is {self.nclasses}, but {asked} outputs are asked for"
            )
        return asked or self.nclasses or default
