"""Recurrent networks for series: layers of LSTM, RNN and affine form, or an autoencoder of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from ddstream.api.parameters import Numbers, Strings
from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates.protocol import TemplateParameters
from ddstream.templates.spans import Span

Kind = Literal["LSTM", "RNN", "AFFINE", "TILE"]

_KINDS: Mapping[str, Kind] = {"": "LSTM", "L": "LSTM", "R": "RNN", "A": "AFFINE", "AR": "AFFINE"}
_LARGEST = 65536
"""Most units of a layer."""


class Layer(NamedTuple):
    """A layer as `layers` names it: `L50`, `R50`, `A50`, `AR50` (with a ReLU), `T`, or `50`."""

    kind: Kind
    units: int = 0
    rectified: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError for a text that means none."""
        if text == "T":
            return cls("TILE")
        found = re.fullmatch(r"(L|R|AR|A|)(\d{1,6})", text)
        if found is None or not 1 <= int(found[2]) <= _LARGEST:
            raise ValueError(
                f"layers: {text[:40]!r} is none of L50 (LSTM), R50 (RNN), A50 (affine), "
                "AR50 (affine and ReLU), T (tile) and 50 (LSTM)"
            )
        return cls(_KINDS[found[1]], int(found[2]), found[1] == "AR")


class RecurrentParameters(TemplateParameters):
    """Options of recurrent; they stand in `mllib` itself."""

    layers: Strings = Field(default=(), description="Layers: L50, R50, A50, AR50, T, in order.")
    dropout: Numbers = Field(default=(), description="Share that is dropped after each layer.")
    residual: bool = Field(default=False, description="Layers get the outputs of all before them.")

    @model_validator(mode="after")
    def _possible(self) -> RecurrentParameters:
        layers = self.read_layers()
        if layers and layers[0].kind == "TILE":
            raise ValueError("layers: T repeats what the layer before it has, it cannot be first")
        if not all(0 <= share < 1 for share in self.dropout):
            raise ValueError("dropout is at least 0 and below 1")
        if len(self.dropout) not in (0, 1, len(layers), _untiled(layers)):
            raise ValueError(f"dropout has {len(self.dropout)} values for {len(layers)} layers")
        return self

    def read_layers(self) -> list[Layer]:
        """The layers in their order."""
        return [Layer.of(text) for text in self.layers]

    def shares(self) -> list[float]:
        """The dropout after each layer; there is none after a tile."""
        layers = self.read_layers()
        if len(self.dropout) == len(layers):
            return list(self.dropout)
        given = iter(self.dropout * _untiled(layers) if len(self.dropout) == 1 else self.dropout)
        return [0.0 if layer.kind == "TILE" else next(given, 0.0) for layer in layers]


class Recurrent(nn.Module):
    """Tells N x T x `outputs` of N x T x `columns`; of a forecast the last `horizon` steps.

    After a pass it remembers where the last sample left it; where `continues` is set, the next pass
    of one sample goes on from there.
    """

    def __init__(self, span: Span, parameters: RecurrentParameters) -> None:
        super().__init__()
        self._span = span
        self._residual = parameters.residual
        self._kinds = {f"{x.kind}_{i}": x for i, x in enumerate(parameters.read_layers())}
        self.continues = False
        self._memory: dict[str, Any] = {}
        self.data = nn.Identity()
        self.layers, self.dropouts = nn.ModuleDict(), nn.ModuleDict()
        width, widths = span.columns, span.columns
        for (name, layer), share in zip(self._kinds.items(), parameters.shares(), strict=True):
            self.layers[name] = _made(layer, widths if self._residual else width)
            self.dropouts[name] = nn.Dropout(share)
            width = layer.units or width
            # Nothing goes around a tile: it is the neck of an autoencoder.
            widths = width if layer.kind == "TILE" else widths + width
        self.rnn_pred = nn.Linear(width, span.outputs) if width != span.outputs else None

    @property
    def extractable(self) -> dict[str, str]:
        """Where the layers are that the API knows (contract 5.9.2)."""
        own = {"data": "data", **{name: f"layers.{name}" for name in self._kinds}}
        return own | ({"rnn_pred": "rnn_pred"} if self.rnn_pred is not None else {})

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See above. Raises InputError for series of other columns, or too short."""
        _, length, columns = series.shape
        if columns != self._span.columns:
            raise InputError(f"steps of {columns} columns: the model takes {self._span.columns}")
        if self._span.follows and length < self._span.horizon:
            raise InputError(f"{length} steps are too few for {self._span.horizon} to come")
        values: torch.Tensor = self.data(series)
        before = [values]
        for name, layer in self._kinds.items():
            given = torch.cat(before, dim=-1) if self._residual else values
            values = self.dropouts[name](self._through(name, layer, given, values))
            before = [values] if layer.kind == "TILE" else [*before, values]
        told = values if self.rnn_pred is None else self.rnn_pred(values)
        return told[:, -self._span.horizon :] if self._span.follows else told

    def _through(
        self, name: str, layer: Layer, given: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        module = self.layers[name]
        if layer.kind == "TILE":
            # The last state of the layer before it, at all steps.
            tiled: torch.Tensor = module(values[:, -1:].expand(values.shape))
            return tiled
        if layer.kind == "AFFINE":
            affine: torch.Tensor = module(given)
            return affine
        memory = self._memory.get(name) if self.continues and len(given) == 1 else None
        found: torch.Tensor
        found, state = module(given, memory)
        if not self.training:
            self._memory[name] = _last(state)
        return found


def _made(layer: Layer, width: int) -> nn.Module:
    if layer.kind == "TILE":
        return nn.Identity()
    if layer.kind == "AFFINE":
        affine = nn.Linear(width, layer.units)
        return nn.Sequential(affine, nn.ReLU()) if layer.rectified else affine
    kind = nn.LSTM if layer.kind == "LSTM" else nn.RNN
    return kind(width, layer.units, batch_first=True)


def _last(state: Any) -> Any:
    """The state of the last sample of a batch."""
    if isinstance(state, tuple):
        return tuple(_last(each) for each in state)
    return state[:, -1:].detach().clone()


def _untiled(layers: list[Layer]) -> int:
    return sum(layer.kind != "TILE" for layer in layers)


def recurrent(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """The layers that `mllib.layers` names."""
    found = RecurrentParameters.read(params)
    if not found.layers:
        raise ParameterError("recurrent template selected w/o layer specification")
    return Recurrent(Span.of(dimensions), found)
