"""The first layer of every model: what samples hold becomes the arguments of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import torch

from ddstream.backends.torch.network.first_layer import pixels_to_numbers
from ddstream.backends.torch.objectives import Inputs
from ddstream.data import Array, Normalise

IMAGE = "image"
IDS, MASK = "ids", "mask"
STRIDE: Final = 8
"""Lengths of batches of texts are multiples of it, so that memory is used again."""

Values = TypeVar("Values", torch.Tensor, Array)


def without_padding(inputs: Mapping[str, Values]) -> Mapping[str, Values]:
    """A batch of texts only as long as the longest of them; other inputs as they are.

    What a mask hides changes no result, but costs as much time as what it shows.
    """
    if IDS not in inputs or MASK not in inputs:
        return inputs
    longest = int(inputs[MASK].sum(1).max())
    length = max(1, -(-longest // STRIDE)) * STRIDE
    return {name: each[:, :length] for name, each in inputs.items()}


def arguments(
    inputs: Mapping[str, torch.Tensor],
    normalise: Normalise,
    dtype: torch.dtype,
    channels: int | None,
) -> Inputs:
    """The inputs on their device, in their order: pixels normalised, numbers of `dtype`, ids as
    they are. Raises InputError for images of other `channels` than the model takes."""
    return tuple(
        pixels_to_numbers(each, normalise, dtype, channels)
        if name == IMAGE
        else each.to(dtype)
        if each.is_floating_point()
        else each
        for name, each in inputs.items()
    )
