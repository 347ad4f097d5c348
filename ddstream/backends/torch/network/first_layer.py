"""The first layer of every image model: integer pixels become normalised numbers on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ddstream.data import Normalise
from ddstream.errors import InputError


def pixels_to_numbers(
    images: torch.Tensor, normalise: Normalise, dtype: torch.dtype, channels: int | None
) -> torch.Tensor:
    """`(x * scale - mean) / std` of N x H x W x C pixels, as N x C x H x W, channels last.

    Grey images are repeated for a model of three channels. Raises InputError where the number of
    channels does not fit.
    """
    found = images.shape[3]
    wanted = channels or found
    if found != wanted and not (found == 1 and wanted == 3):
        raise InputError(f"the image has {found} channels, the model takes {wanted}")
    # Half types hold no 255 * scale exactly: they come last.
    exact = torch.float64 if dtype is torch.float64 else torch.float32
    # N x H x W x C seen as N x C x H x W is what channels_last means: nothing is moved.
    numbers = images.permute(0, 3, 1, 2).to(exact, copy=True)
    if found != wanted:
        numbers = numbers.expand(-1, wanted, -1, -1)
    numbers = numbers.contiguous(memory_format=torch.channels_last)
    return _normalised(numbers, normalise, wanted).to(dtype)


def _normalised(numbers: torch.Tensor, normalise: Normalise, channels: int) -> torch.Tensor:
    # The numbers are a copy already, so that they can be changed in place.
    if normalise.scale != 1.0:
        numbers = numbers.mul_(normalise.scale)
    if normalise.mean:
        numbers = numbers.sub_(_each(normalise.mean, "mean", numbers, channels))
    if normalise.std:
        numbers = numbers.div_(_each(normalise.std, "std", numbers, channels))
    return numbers


def _each(values: Sequence[float], name: str, like: torch.Tensor, channels: int) -> torch.Tensor:
    if len(values) not in (1, channels):
        raise InputError(f"{name} has {len(values)} values, the model takes {channels} channels")
    row = torch.tensor(values, dtype=like.dtype)
    return row.view(1, -1, 1, 1).to(like.device, non_blocking=True)
