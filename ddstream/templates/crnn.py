"""crnn: networks that read a line of text (Shi et al. 2015), by convolutions and an LSTM.

The convolutions are the residual ones of Cheng et al. 2017, as Baek et al. 2019 describe them in
table 2 of their supplement: they halve the height four times, the width twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates.protocol import DEEPEST, TemplateParameters, Unbuilt

SMALLEST: Final = (32, 4)
"""Height and width in pixels below which nothing would be left of an image."""
RESIDUAL: Final = "resnet"
_TOO_SMALL: Final = f"crnn needs images of {SMALLEST[1]} x {SMALLEST[0]} pixels at least"
_OF_BACKBONE: Final = ("backbone", "channels")
"""Those of its parameters that say what its own convolutions are."""


class CrnnParameters(TemplateParameters):
    """`template_params` of crnn, and `timesteps`, which may stand in `mllib`."""

    timesteps: int = Field(default=-1, ge=-1, description="Output steps; -1: what the width gives.")
    hidden_size: int = Field(default=256, ge=1, description="Numbers of an LSTM's state.")
    num_layers: int = Field(default=3, ge=1, le=DEEPEST, description="Layers of the LSTM.")
    bidirectional: bool = Field(default=False, description="Read from both sides.")
    backbone: Literal["resnet"] = Field(default=RESIDUAL, description=f"{RESIDUAL}.")
    channels: int = Field(
        default=512, ge=16, multiple_of=16, description="Numbers of a step before the LSTM."
    )

    @field_validator("backbone", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if value != RESIDUAL:
            raise ValueError(f"unknown backbone {str(value)[:40]}; there is: {RESIDUAL}")
        return value

    @field_validator("timesteps")
    @classmethod
    def _steps(cls, value: int) -> int:
        if value == 0:
            raise ValueError("timesteps must be -1 or at least 1")
        return value


def crnn(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A reader of texts of the alphabet that a training found.

    Raises Unbuilt before there is one, where `nclasses` does not say how large it is.
    """
    wanted = CrnnParameters.read(params)
    for side, least in zip((dimensions.height, dimensions.width), SMALLEST, strict=True):
        if 0 < side < least:
            raise ParameterError(_TOO_SMALL)
    _check_steps(wanted, dimensions)
    return Crnn(wanted, dimensions.channels or 3, _alphabet(dimensions))


def behind(shape: Sequence[int], dimensions: Dimensions, params: Mapping[str, Any]) -> Reading:
    """What reads the feature map of another net, of C x h x w for images of these dimensions.

    Raises ParameterError for what only a backbone of ours has, Unbuilt as `crnn` does.
    """
    if own := [name for name in _OF_BACKBONE if name in params]:
        raise ParameterError(
            f"template_params.{own[0]} is of crnn's own backbone: the traced net is in its place"
        )
    wanted = CrnnParameters.read(params)
    _check_steps(wanted, dimensions)
    channels, rows, _ = shape
    return Reading(wanted, (channels, rows), _alphabet(dimensions))


def _check_steps(wanted: CrnnParameters, dimensions: Dimensions) -> None:
    """Raises ParameterError for more steps than images have columns of pixels."""
    if 0 < dimensions.width < wanted.timesteps:
        raise ParameterError(
            f"timesteps {wanted.timesteps} do not fit: images have {dimensions.width} columns"
        )


def _alphabet(dimensions: Dimensions) -> int:
    size = dimensions.vocabulary or dimensions.outputs
    if not size:
        raise Unbuilt("the repository has no alphabet yet")
    return size


class Crnn(nn.Module):
    """Scores of letters for each step from left to right."""

    def __init__(self, wanted: CrnnParameters, channels: int, alphabet: int) -> None:
        super().__init__()
        self.backbone = _backbone(channels, wanted.channels)
        self.reading = Reading(wanted, (wanted.channels, 1), alphabet)

    @property
    def body(self) -> nn.Module:
        """What `freeze_traced` leaves as it is."""
        return self.backbone

    @staticmethod
    def translated(state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The names of earlier versions, which had no part of its own that reads."""
        return {
            f"reading.{name}" if name.startswith(("lstm.", "projection.")) else name: each
            for name, each in state.items()
        }

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits T x N x A of images N x C x H x W. Raises InputError for too small ones."""
        if any(side < least for side, least in zip(images.shape[2:], SMALLEST, strict=True)):
            raise InputError(_TOO_SMALL)
        scores: torch.Tensor = self.reading(self.backbone(images))
        return scores


class Reading(nn.Module):
    """An LSTM along the columns of a feature map, and a linear layer that scores letters.

    `map_size` are the map's channels, and the rows that are averaged from however many there are.
    """

    def __init__(self, wanted: CrnnParameters, map_size: tuple[int, int], alphabet: int) -> None:
        super().__init__()
        channels, rows = map_size
        steps = wanted.timesteps if wanted.timesteps > 0 else None
        self.pool = nn.AdaptiveAvgPool2d((rows, steps))
        self.lstm = nn.LSTM(
            channels * rows,
            wanted.hidden_size,
            wanted.num_layers,
            bidirectional=wanted.bidirectional,
        )
        sides = 2 if wanted.bidirectional else 1
        self.projection = nn.Linear(sides * wanted.hidden_size, alphabet)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits T x N x A of a feature map N x C x h x w."""
        columns = self.pool(features).flatten(1, 2)
        states, _ = self.lstm(columns.permute(2, 0, 1).contiguous())
        scores: torch.Tensor = self.projection(states)
        return scores


class Residual(nn.Module):
    """Two convolutions of 3 x 3 pixels, whose result is added to what came in."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = _convolution(before, after)
        self.second = nn.Sequential(
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
        )
        self.short: nn.Module = nn.Identity()
        if before != after:
            self.short = nn.Sequential(
                nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """N x `after` x H x W of N x `before` x H x W."""
        return torch.relu(self.second(self.first(features)) + self.short(features))


def _backbone(channels: int, width: int) -> nn.Sequential:
    """Features N x `width` x (H/16 - 1) x (W/4 + 1) of images N x `channels` x H x W."""
    eighth, quarter, half = width // 8, width // 4, width // 2
    return nn.Sequential(
        _convolution(channels, width // 16),
        _convolution(width // 16, eighth),
        nn.MaxPool2d(2),
        *_stage(eighth, quarter, blocks=1),
        nn.MaxPool2d(2),
        *_stage(quarter, half, blocks=2),
        # From here on the height alone is halved: each column is a step of the text.
        nn.MaxPool2d(2, stride=(2, 1), padding=(0, 1)),
        *_stage(half, width, blocks=5),
        *_stage(width, width, blocks=3)[:-1],
        _convolution(width, width, kernel_size=2, stride=(2, 1), padding=(0, 1)),
        _convolution(width, width, kernel_size=2, padding=0),
    )


def _stage(before: int, after: int, *, blocks: int) -> list[nn.Module]:
    """Residual blocks, and a convolution behind them."""
    sizes = [before] + blocks * [after]
    found: list[nn.Module] = [Residual(*pair) for pair in pairwise(sizes)]
    return [*found, _convolution(after, after)]


def _convolution(before: int, after: int, **how: Any) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, **{"kernel_size": 3, "padding": 1, **how}, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
