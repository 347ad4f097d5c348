"""Transformers of texts: the sizes that bert and gpt2 share, and their public weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates.protocol import TemplateParameters, Unbuilt

State: TypeAlias = Mapping[str, torch.Tensor]

WIDTH: Final = 768
"""Numbers of a token, unless said otherwise."""


class TextParameters(TemplateParameters):
    """Sizes of a transformer of texts; those of bert-base and of the small gpt2 by default."""

    hidden_size: int = Field(default=WIDTH, ge=1, description="Numbers of a token.")
    embedding_size: int = Field(default=WIDTH, ge=1, description="The same as hidden_size.")
    layers: int = Field(default=12, ge=1, description="Blocks.")
    heads: int = Field(default=12, ge=1, description="Attention heads; they share hidden_size.")
    intermediate_size: int | None = Field(
        default=None, ge=1, description="Numbers inside of a block; else 4 x hidden_size."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Of tokens and of attention.")

    @model_validator(mode="before")
    @classmethod
    def _one_width(cls, raw: Any) -> Any:
        """Whichever of the two is given is both."""
        found = dict(raw)
        width = found.get("hidden_size", found.get("embedding_size", WIDTH))
        return {"hidden_size": width, "embedding_size": width} | found

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.hidden_size != self.embedding_size:
            raise ValueError(
                f"the head takes embedding_size {self.embedding_size} numbers, "
                f"tokens have hidden_size {self.hidden_size}"
            )
        if self.hidden_size % self.heads:
            raise ValueError(f"{self.heads} heads cannot share hidden_size {self.hidden_size}")
        return self

    @property
    def inner(self) -> int:
        """Numbers inside of a block."""
        return self.intermediate_size or 4 * self.hidden_size


def vocabulary_size(dimensions: Dimensions, most: int) -> int:
    """How many ids a model's embedding has.

    Raises Unbuilt before there is a vocabulary, ParameterError where texts have more than `most`
    tokens.
    """
    if not dimensions.vocabulary:
        raise Unbuilt("the repository has no vocabulary of ordered words yet")
    if dimensions.steps > most:
        raise ParameterError(
            f"texts of {dimensions.steps} tokens (parameters.input.sequence) are longer than "
            f"template_params.max_positions, {most}"
        )
    return dimensions.vocabulary


def prefixed(state: State, inside: str, prefix: str) -> dict[str, torch.Tensor]:
    """The state with `prefix` before each name, where it is one of the part `inside` alone."""
    if not any(name.startswith(inside) for name in state):
        return dict(state)
    return {prefix + name: each for name, each in state.items()}


class FirstToken(nn.Module):
    """The vector of the first of a text's tokens, which stands for all of it."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """N x E of N x L x E."""
        return hidden[:, 0]
