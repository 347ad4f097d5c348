"""Multilayer perceptrons: hidden layers between the numbers of a sample and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates.protocol import ClassifierParameters, Unbuilt

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class MlpParameters(ClassifierParameters):
    """`template_params` of mlp."""

    layers: tuple[int, ...] = Field(
        default=(128, 128), description="Units of each hidden layer; 0: a linear model."
    )
    activation: str = Field(default="relu", description=f"{', '.join(ACTIVATIONS)}.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Of every hidden layer.")
    batch_norm: bool = Field(default=False, description="Normalise every hidden layer by batch.")
    embedding: int = Field(
        default=16, ge=1, description="Numbers that stand for a character or a token."
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _sizes(cls, value: Any) -> Any:
        sizes = tuple(value) if isinstance(value, list | tuple) else (value,)
        if any(type(size) is not int or size < 0 for size in sizes):
            raise ValueError("layers must be a list of numbers of units")
        return tuple(size for size in sizes if size)

    @field_validator("activation", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if value not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"unknown activation {str(value)[:40]}; there is: {known}")
        return value


def mlp(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A perceptron for rows, for images of one size, or for characters and tokens by their ids."""
    wanted = MlpParameters.read(params)
    if dimensions.horizon:
        raise ParameterError("mlp tells no series: it has one row of results a sample")
    first, inputs = _first(dimensions, wanted)
    outputs = wanted.outputs(dimensions.outputs, 0)
    if not outputs:
        raise Unbuilt("the outputs of mlp are not known: set nclasses or ntargets")
    return Perceptron(first, inputs, outputs, wanted)


def _first(dimensions: Dimensions, wanted: MlpParameters) -> tuple[nn.Module, int]:
    """What makes one row of numbers of a sample, and how many these are."""
    pixels = dimensions.channels * dimensions.height * dimensions.width
    if dimensions.vocabulary and dimensions.steps:
        embedding = nn.Embedding(dimensions.vocabulary, wanted.embedding)
        return nn.Sequential(embedding, nn.Flatten()), dimensions.steps * wanted.embedding
    if not (dimensions.columns or pixels):
        raise Unbuilt("the columns of mlp are not known before there are data")
    return nn.Flatten(), dimensions.columns or pixels


class Perceptron(nn.Module):
    """Linear layers with a nonlinear function, and what keeps them from overfitting, between."""

    def __init__(self, first: nn.Module, inputs: int, outputs: int, wanted: MlpParameters) -> None:
        super().__init__()
        self.first = first
        self.ids = not isinstance(first, nn.Flatten)
        """A sample is ids of an embedding, not numbers."""
        self.inputs = inputs
        hidden: list[nn.Module] = []
        for units in wanted.layers:
            hidden.append(nn.Linear(inputs, units))
            if wanted.batch_norm:
                hidden.append(nn.BatchNorm1d(units))
            hidden.append(ACTIVATIONS[wanted.activation]())
            if wanted.dropout:
                hidden.append(nn.Dropout(wanted.dropout))
            inputs = units
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(inputs, outputs)

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """N x ... numbers or ids to N x outputs. Raises InputError for samples of another kind."""
        if self.ids is sample.is_floating_point():
            wanted, given = ("ids", "numbers") if self.ids else ("numbers", "ids")
            raise InputError(f"the model was trained with {wanted}, the samples are {given}")
        row = self.first(sample)
        if row.shape[1] != self.inputs:
            raise InputError(f"samples of {row.shape[1]} numbers: the model takes {self.inputs}")
        scores: torch.Tensor = self.head(self.hidden(row))
        return scores
