"""Embedding: values of a series' steps, and the places of the steps, as vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from ddstream.templates.ttransformer_parameters import EmbedParameters, PositionParameters

OMEGA = 30.0
"""Frequency of a sine layer (Sitzmann et al. 2020)."""


class Sine(nn.Module):
    """The activation of SIREN: sin(30 x)."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return torch.sin(OMEGA * values)


ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "siren": Sine}


def perceptron(widths: Sequence[int], activation: str, dropout: float) -> nn.Sequential:
    """Linear layers from width to width, the activation between them, dropout after each but the
    last. With siren their weights begin as Sitzmann et al. (2020) say."""
    layers: list[nn.Module] = []
    for number, (given, made) in enumerate(pairwise(widths)):
        linear = nn.Linear(given, made)
        if activation == "siren":
            bound = math.sqrt(6 / given) / OMEGA if number else 1 / given
            nn.init.uniform_(linear.weight, -bound, bound)
        layers += [linear, ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


class Embedder(nn.Module):
    """Makes vectors N x T x `dim` of steps N x T x `columns`, as `embed` says.

    step: of each step by itself, whatever T is. serie: of each column's whole series, with weights
    of its own, and their sum. all: of all steps of all columns at once.
    """

    def __init__(self, columns: int, steps: int, wanted: EmbedParameters) -> None:
        super().__init__()
        self._type = wanted.type
        self._dim = wanted.dim
        wide = steps if wanted.type != "step" else 1
        given = {"step": columns, "serie": steps, "all": steps * columns}[wanted.type]
        widths = [given, *[wide * wanted.dim] * wanted.layers]
        count = columns if wanted.type == "serie" else 1
        self.parts = nn.ModuleList(
            perceptron(widths, wanted.activation, wanted.dropout) for _ in range(count)
        )
        self.dropout = nn.Dropout(wanted.dropout)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See above."""
        if self._type == "step":
            made = self.parts[0](series)
        else:
            flat = [series.flatten(1)] if self._type == "all" else series.unbind(-1)
            each = [part(values) for part, values in zip(self.parts, flat, strict=True)]
            made = torch.stack(each).sum(0).view(len(series), series.shape[1], self._dim)
        dropped: torch.Tensor = self.dropout(made)
        return dropped


class Positions(nn.Module):
    """Adds the place of each step to its vector, or puts it beside: N x T x `width`.

    The vectors of places are one for each of `steps`, fixed or changed in training.
    """

    def __init__(self, steps: int, dim: int, wanted: PositionParameters) -> None:
        super().__init__()
        self._beside = wanted.agg == "cat"
        self.width = 2 * dim if self._beside else dim
        self.places: torch.Tensor | None
        places = {"sincos": waves, "naive": numbers, "none": _nothing}[wanted.type](steps, dim)
        if wanted.learn and places is not None:
            self.places = nn.Parameter(places)
        else:
            self.register_buffer("places", places, persistent=False)
        self.dropout = nn.Dropout(wanted.dropout)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """The first steps, as many as there are."""
        if self.places is not None:
            places = self.places[: vectors.shape[1]].expand_as(vectors)
            vectors = torch.cat([vectors, places], -1) if self._beside else vectors + places
        dropped: torch.Tensor = self.dropout(vectors)
        return dropped


def waves(steps: int, dim: int) -> torch.Tensor:
    """Sines and cosines of falling frequency, in turns (Vaswani et al. 2017): `steps` x `dim`."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    angles = torch.arange(steps).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim]


def numbers(steps: int, dim: int) -> torch.Tensor:
    """The number of the step as a share of all, in every place: `steps` x `dim`."""
    shares = torch.arange(steps) / steps
    return shares.unsqueeze(1).repeat(1, dim)


def _nothing(steps: int, dim: int) -> None:
    return None
