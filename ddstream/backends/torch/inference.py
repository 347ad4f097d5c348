"""A model made ready for predictions: folded, in a device's memory and in a type of numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from ddstream.backends.torch.first_layer import pixels_to_numbers
from ddstream.backends.torch.model import Model
from ddstream.data import Array, Normalise
from ddstream.errors import InternalError, ParameterError

Place: TypeAlias = tuple[torch.device, torch.dtype]


@dataclass(slots=True)
class Prepared:
    """The forms of one model, each made when it is first asked for."""

    model: Model
    _fast: dict[Place, nn.Module] = field(default_factory=dict)
    _whole: dict[Place, nn.Module] = field(default_factory=dict)

    def fast(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The model with its batch norms folded into its convolutions."""
        return _kept(self._fast, (device, dtype), lambda: self._folded(dtype))

    def whole(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The model with every layer in its place."""
        return _kept(self._whole, (device, dtype), self._copy)

    def devices(self) -> set[torch.device]:
        """Where its forms are."""
        return {device for device, _ in (*self._fast, *self._whole)}

    def free(self) -> None:
        """Let go of the weights now: modules have cycles, which the collector finds much later."""
        for module in (self.model.module, *self._fast.values(), *self._whole.values()):
            for values in (*module.parameters(), *module.buffers()):
                values.data = values.data.new_empty(0)

    def _folded(self, dtype: torch.dtype) -> nn.Module:
        if self.model.traced:
            return self._copy()
        # Folding computes new weights: in double precision where that is asked for.
        exact = self.model.module if dtype is not torch.float64 else self._copy().double()
        folded: nn.Module = fuse(exact)
        return folded

    def _copy(self) -> nn.Module:
        # With gradients, copies of a traced model's weights would be results, not weights.
        with torch.no_grad():
            return copy.deepcopy(self.model.module)


def _kept(kept: dict[Place, nn.Module], place: Place, make: Callable[[], nn.Module]) -> nn.Module:
    if place not in kept:
        device, dtype = place
        module = make().eval().to(device, dtype)
        kept[place] = module.to(memory_format=torch.channels_last)
    return kept[place]


@dataclass(frozen=True, slots=True)
class Pass:
    """What one forward pass needs beside the images. `layer` is "" for the model's output."""

    devices: Sequence[torch.device]
    dtype: torch.dtype
    normalise: Normalise
    layer: str = ""


def run(prepared: Prepared, images: Array, how: Pass) -> Array:
    """One pass over N x H x W x C pixels, shared out among the devices; N x ... numbers.

    A layer's values, and those of half types, come as float32.
    """
    pixels = torch.from_numpy(images)
    parts = [part for part in pixels.tensor_split(len(how.devices)) if len(part)]
    # Calls to GPUs return at once, so that all devices compute before the first one is read.
    results = [_part(prepared, p, d, how) for p, d in zip(parts, how.devices, strict=False)]
    with torch.inference_mode():
        whole = torch.cat([result.to("cpu") for result in results])
        numbers: Array = (whole if whole.dtype is torch.float64 else whole.float()).numpy()
    if len(numbers) != len(images):
        raise InternalError(f"the model gave {len(numbers)} results for {len(images)} images")
    if numbers.size == 0:
        raise InternalError("The model returned an empty tensor")
    return numbers


def _part(
    prepared: Prepared, pixels: torch.Tensor, device: torch.device, how: Pass
) -> torch.Tensor:
    with torch.inference_mode():
        if device.type == "cuda":
            pixels = pixels.pin_memory().to(device, non_blocking=True)
        numbers = pixels_to_numbers(pixels, how.normalise, how.dtype, prepared.model.channels)
        if not how.layer:
            return tensor(prepared.fast(device, how.dtype)(numbers))
        module = prepared.whole(device, how.dtype)
        with _tapped(module.get_submodule(how.layer)) as values:
            module(numbers)
        if not values:
            raise ParameterError(f"extract layer {how.layer} takes no part in the forward pass")
        return values[-1]


@contextmanager
def _tapped(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    values: list[torch.Tensor] = []

    def keep(_: nn.Module, __: tuple[object, ...], output: object) -> None:
        # The next layer may work in place.
        values.append(tensor(output).clone())

    hook = layer.register_forward_hook(keep)
    try:
        yield values
    finally:
        hook.remove()


def tensor(output: object) -> torch.Tensor:
    """A model's result: a tensor, or the first one of a tuple. Raises ParameterError otherwise."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise ParameterError(f"the model gives a {type(output).__name__}, not a tensor")
    return output
