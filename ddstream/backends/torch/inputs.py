"""The first layer of every model: what samples hold becomes the arguments of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ddstream.backends.torch.first_layer import pixels_to_numbers
from ddstream.backends.torch.objectives import Inputs
from ddstream.data import Normalise

IMAGE = "image"


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
