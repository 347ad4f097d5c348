"""A transformer for time series: embedded steps, attention, and a decoder of the steps to tell.

All steps are told at once, or with `autoreg` one after the other, each from those told before. Then
training gives the steps that came in the place of those told, and masks hide what comes later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ddstream.data import Dimensions
from ddstream.templates.embedding import Embedder, Positions, perceptron
from ddstream.templates.spans import Span
from ddstream.templates.ttransformer_parameters import TTransformerParameters


class Encoder(nn.Module):
    """Vectors of steps that know of each other: N x T x `columns` -> N x T x `width`.

    `causal`: each knows of those before it alone.
    """

    def __init__(
        self, columns: int, steps: int, wanted: TTransformerParameters, *, causal: bool = False
    ) -> None:
        super().__init__()
        self._causal = causal
        self.embed = Embedder(columns, steps, wanted.embed)
        self.positions = Positions(steps, wanted.embed.dim, wanted.positional_encoding)
        self.width = self.positions.width
        options = wanted.encoder
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                self.width,
                options.heads,
                options.hidden_dim or columns * wanted.embed.dim,
                options.dropout,
                options.activation,
                batch_first=True,
            )
            for _ in range(options.layers)
        )

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See above."""
        vectors: torch.Tensor = self.positions(self.embed(series))
        mask = later(vectors) if self._causal else None
        for layer in self.layers:
            vectors = layer(vectors, mask, is_causal=self._causal)
        return vectors


class Decoder(nn.Module):
    """Steps from vectors N x H x `width` that look at the encoder's: N x H x `outputs`."""

    def __init__(self, span: Span, width: int, wanted: TTransformerParameters) -> None:
        super().__init__()
        options = wanted.decoder
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width,
                options.heads,
                options.hidden_dim or span.horizon * wanted.embed.dim,
                options.dropout,
                options.activation,
                batch_first=True,
            )
            for _ in range(options.layers)
        )
        self.head = nn.Linear(width, span.outputs)

    def forward(
        self, vectors: torch.Tensor, memory: torch.Tensor, *, causal: bool = False
    ) -> torch.Tensor:
        """See above; `causal`: each vector knows of those before it alone."""
        mask = later(vectors) if causal else None
        for layer in self.layers:
            vectors = layer(vectors, memory, mask, tgt_is_causal=causal)
        told: torch.Tensor = self.head(vectors)
        return told


class AtOnce(nn.Module):
    """Tells all steps of a window at once: N x `horizon` x `outputs`."""

    def __init__(self, span: Span, wanted: TTransformerParameters) -> None:
        super().__init__()
        self.span = span
        self.encoder = Encoder(span.columns, span.steps, wanted)
        width, dim = self.encoder.width, wanted.embed.dim
        self.decoder: nn.Module
        self.queries: nn.Parameter | None = None
        if wanted.decoder.attends:
            self.queries = nn.Parameter(torch.randn(span.horizon, width) * width**-0.5)
            self.decoder = Decoder(span, width, wanted)
        else:
            hidden = wanted.decoder.hidden_dim or span.horizon * dim
            self.decoder = _simple(span.steps * width, hidden, span.horizon * span.outputs, wanted)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See above; of longer series window after window."""
        return (
            self.span.over(series, self._tell) if self.span.longer(series) else self._tell(series)
        )

    def _tell(self, series: torch.Tensor) -> torch.Tensor:
        memory = self.encoder(series)
        told: torch.Tensor
        if self.queries is not None:
            told = self.decoder(self.queries.expand(len(series), -1, -1), memory)
        else:
            told = self.decoder(memory.flatten(1)).view(-1, self.span.horizon, self.span.outputs)
        return told


class OneByOne(nn.Module):
    """Tells the steps of a window one after the other: N x `horizon` x `outputs`.

    In training it is `taught`: the steps that came are its second argument, and it tells each from
    those before it.
    """

    taught = True

    def __init__(self, span: Span, teller: Continued | Translated) -> None:
        super().__init__()
        self.span = span
        self.teller = teller

    def forward(self, series: torch.Tensor, came: torch.Tensor | None = None) -> torch.Tensor:
        """See above; of longer series window after window."""
        if came is not None:
            told: torch.Tensor = self.teller(self.teller.seen(series), came[:, :-1])
            return told
        return (
            self.span.over(series, self._tell) if self.span.longer(series) else self._tell(series)
        )

    def _tell(self, series: torch.Tensor) -> torch.Tensor:
        seen = self.teller.seen(series)
        told = series.new_zeros(len(series), 0, self.span.outputs)
        for _ in range(self.span.horizon):
            told = torch.cat([told, self.teller(seen, told)[:, -1:]], dim=1)
        return told


class Continued(nn.Module):
    """The encoder alone: a series that goes on with what was told.

    In a forecast the steps told follow those of the input, and each vector tells the step after its
    own. Labels stand beside their step's inputs, one step late: there each tells its own.
    """

    def __init__(self, span: Span, wanted: TTransformerParameters) -> None:
        super().__init__()
        self._span = span
        columns = span.columns if span.follows else span.columns + span.outputs
        steps = span.steps + span.horizon - 1 if span.follows else span.steps
        self.encoder = Encoder(columns, steps, wanted, causal=True)
        hidden = wanted.decoder.hidden_dim or wanted.embed.dim
        self.decoder = _simple(self.encoder.width, hidden, span.outputs, wanted)

    def seen(self, series: torch.Tensor) -> torch.Tensor:
        """What is made of the input once: nothing yet."""
        return series

    def forward(self, seen: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """After k steps told, the first k + 1, each from those before it."""
        if self._span.follows:
            vectors = self.encoder(torch.cat([seen, told], dim=1))[:, self._span.steps - 1 :]
        else:
            late = nn.functional.pad(told, (0, 0, 1, 0))
            vectors = self.encoder(torch.cat([seen[:, : late.shape[1]], late], dim=2))
        steps: torch.Tensor = self.decoder(vectors)
        return steps


class Translated(nn.Module):
    """Encoder and decoder: the steps told look at the whole input, and at those before them."""

    def __init__(self, span: Span, wanted: TTransformerParameters) -> None:
        super().__init__()
        self.encoder = Encoder(span.columns, span.steps, wanted)
        dim = wanted.embed.dim
        self.embed = nn.Linear(span.outputs, dim)
        self.first = nn.Parameter(torch.randn(1, dim) * dim**-0.5)
        self.positions = Positions(span.horizon, dim, wanted.positional_encoding)
        self.decoder = Decoder(span, self.encoder.width, wanted)

    def seen(self, series: torch.Tensor) -> torch.Tensor:
        """What is made of the input once: its vectors."""
        vectors: torch.Tensor = self.encoder(series)
        return vectors

    def forward(self, seen: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """After k steps told, the first k + 1, each from those before it."""
        first = self.first.expand(len(told), -1, -1)
        vectors = self.positions(torch.cat([first, self.embed(told)], dim=1))
        steps: torch.Tensor = self.decoder(vectors, seen, causal=True)
        return steps


def later(vectors: torch.Tensor) -> torch.Tensor:
    """The mask of what comes later, T x T: true where a step must not look."""
    steps = vectors.shape[1]
    return torch.ones(steps, steps, dtype=torch.bool, device=vectors.device).triu(1)


def _simple(given: int, hidden: int, made: int, wanted: TTransformerParameters) -> nn.Sequential:
    """An MLP of `decoder.layers` layers."""
    options = wanted.decoder
    widths = [given, *[hidden] * (options.layers - 1), made]
    found = perceptron(widths, options.activation, options.dropout)
    return nn.Sequential(nn.Dropout(options.dropout), *found)


def ttransformer(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A transformer for windows of series."""
    wanted, span = TTransformerParameters.read(params), Span.of(dimensions)
    if not wanted.autoreg:
        return AtOnce(span, wanted)
    return OneByOne(span, (Translated if wanted.decoder.attends else Continued)(span, wanted))
