"""The architecture of a training's weights: what its model was built by, for who loads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.network.model import GOALS, template_params
from ddstream.data import UNSIZED, Dimensions
from ddstream.repository import Repository

ARCHITECTURE = "architecture.json"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A template, its options, and the sizes of the samples that it was trained with."""

    template: str
    template_params: Mapping[str, Any] = field(default_factory=dict)
    dimensions: Dimensions = UNSIZED

    @classmethod
    def read(cls, repository: Repository, template: str) -> Architecture | None:
        """What the repository's weights have; None if they are of no or another template."""
        raw = repository.read_json(ARCHITECTURE)
        if not isinstance(raw, dict) or raw.get("template") != template:
            return None
        try:
            found = cls(template, dict(raw["template_params"]), Dimensions(**raw["dimensions"]))
        except (KeyError, TypeError, ValueError):
            return None
        sizes = asdict(found.dimensions).values()
        return found if all(isinstance(each, int) and each >= 0 for each in sizes) else None

    @classmethod
    def of(cls, parameters: TorchParameters, dimensions: Dimensions) -> Architecture:
        """That of a training."""
        found = template_params(parameters)
        sizes = {name: value for name, value in found.items() if name not in GOALS}
        return cls(parameters.template, sizes, dimensions)

    def file(self) -> bytes:
        """The content of `architecture.json`."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2) + b"\n"


def sized(parameters: TorchParameters, dimensions: Dimensions, *, crop: int = 0) -> Dimensions:
    """The sizes of the model: what is asked for in `mllib` goes before what the data say.

    `crop` is the side of the squares that training cuts out of its images.
    """
    asked = parameters.nclasses or parameters.ntargets
    found = replace(dimensions, outputs=asked or dimensions.outputs)
    return replace(found, height=crop, width=crop) if crop > 0 else found


def kept(
    parameters: TorchParameters, dimensions: Dimensions, repository: Repository
) -> tuple[TorchParameters, Dimensions, list[str]]:
    """The parameters and sizes that a repository's weights want, and what is to be said of it."""
    found = Architecture.read(repository, parameters.template)
    if found is None or not parameters.template:
        return parameters, sized(parameters, dimensions), []
    warnings = []
    own, given = (
        dict(found.template_params),
        orjson.loads(orjson.dumps(template_params(parameters))),
    )
    if any(own.get(name) != value for name, value in given.items() if name not in GOALS):
        warnings.append("template_params are those of the training that made the weights")
    merged = parameters.model_copy(update={"template_params": own})
    return merged, sized(parameters, found.dimensions), warnings
