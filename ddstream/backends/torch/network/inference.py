"""A model made ready for predictions: folded, in a device's memory and in a type of numbers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional

from ddstream.backends.torch.devices import numbers
from ddstream.backends.torch.network.inputs import arguments, without_padding
from ddstream.backends.torch.network.model import Model, still
from ddstream.backends.torch.objectives import Inputs, Objective, Tensors
from ddstream.backends.torch.objectives.boxes import PADDING
from ddstream.backends.torch.objectives.compared import tensor
from ddstream.data import LOGITS, OUTPUT, Array, Batch, Normalise, Outputs
from ddstream.errors import InternalError, ParameterError

log = logging.getLogger(__name__)

Place: TypeAlias = tuple[torch.device, torch.dtype]


@dataclass(slots=True)
class Prepared:
    """The forms of one model, each made when it is first asked for.

    `folds` says that nothing of it is set between passes, so that it can be rewritten.
    """

    model: Model
    folds: bool = False
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
        if not self.folds or self.model.traced:
            return self._copy()
        # Folding computes new weights: in double precision where that is asked for.
        exact = self.model.module if dtype is not torch.float64 else self._copy().double()
        try:
            folded: nn.Module = fuse(exact)
        except Exception as error:
            # Code that depends on its input cannot be rewritten; it is as right as it was.
            log.info("batch norms stay as they are: %s", next(iter(str(error).splitlines()), ""))
            return self._copy()
        return folded

    def _copy(self) -> nn.Module:
        # With gradients, copies of a traced model's weights would be results, not weights.
        with torch.no_grad():
            return copy.deepcopy(self.model.module)


def _kept(kept: dict[Place, nn.Module], place: Place, make: Callable[[], nn.Module]) -> nn.Module:
    if place not in kept:
        device, dtype = place
        module = still(make().eval()).to(device, dtype)
        kept[place] = module.to(memory_format=torch.channels_last)
    return kept[place]


@dataclass(frozen=True, slots=True)
class Pass:
    """What one forward pass needs beside its inputs.

    `layer` is "" for the model's results, `method` "" for its `forward`; `beside` is a layer whose
    values are wanted beside the results, "" for none; `shortens` says that nobody sees what fills a
    text; `settings` are attributes
    that the module and the objective have set before, where they have such.
    """

    objective: Objective
    devices: Sequence[torch.device]
    dtype: torch.dtype
    normalise: Normalise
    layer: str = ""
    method: str = ""
    beside: str = ""
    shortens: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)


def run(prepared: Prepared, inputs: Mapping[str, Array], how: Pass) -> Outputs:
    """One pass over a batch, shared out among the devices; results on the CPU.

    A layer's values, and those of half types, come as float32.
    """
    count = len(next(iter(inputs.values())))
    if how.shortens and not prepared.model.traced:
        inputs = without_padding(inputs)
    shares = min(len(how.devices), count)
    pieces = {name: torch.from_numpy(each).tensor_split(shares) for name, each in inputs.items()}
    # Calls to GPUs return at once, so that all devices compute before the first one is read.
    parts = [
        _part(prepared, {name: each[i] for name, each in pieces.items()}, device, how)
        for i, device in zip(range(shares), how.devices, strict=False)
    ]
    with torch.inference_mode():
        outputs = numbers(_joined(parts))
    for each in outputs.values():
        if len(each) != count:
            raise InternalError(f"the model gave {len(each)} results for {count} samples")
    if OUTPUT in outputs and outputs[OUTPUT].size == 0:
        raise InternalError("The model returned an empty tensor")
    return outputs


def one_by_one(prepared: Prepared, batch: Batch, how: Pass) -> Outputs:
    """Each sample by itself, in order, the model's memory going on from one to the next."""
    found = [
        run(prepared, {name: each[i : i + 1] for name, each in batch.inputs.items()}, how)
        for i in range(len(batch))
    ]
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def _part(
    prepared: Prepared, inputs: Mapping[str, torch.Tensor], device: torch.device, how: Pass
) -> Tensors:
    with torch.inference_mode():
        if device.type == "cuda":
            inputs = {
                name: each.pin_memory().to(device, non_blocking=True)
                for name, each in inputs.items()
            }
        ready = arguments(inputs, how.normalise, how.dtype, prepared.model.channels)
        form = prepared.whole if how.layer or how.beside else prepared.fast
        module = form(device, how.dtype)
        for name, value in how.settings.items():
            for part in (module, how.objective):
                if hasattr(part, name):
                    setattr(part, name, value)
        if how.layer:
            with _tapped(module.get_submodule(how.layer)) as values:
                module(*ready)
            return {OUTPUT: _last(values, how.layer, ready)}
        called = getattr(module, how.method) if how.method else module
        if not how.beside:
            return how.objective.results(called, ready)
        with _tapped(module.get_submodule(how.beside)) as values:
            results = how.objective.results(called, ready)
        return {**results, LOGITS: _last(values, how.beside, ready)}


def _last(values: Sequence[torch.Tensor], layer: str, inputs: Inputs) -> torch.Tensor:
    """What a tapped layer gave at last."""
    if not values:
        raise ParameterError(f"extract layer {layer} takes no part in the forward pass")
    if len(values[-1]) != len(inputs[0]):
        raise ParameterError(f"extract layer {layer} has no values of its own for each sample")
    return values[-1]


@contextmanager
def _tapped(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    values: list[torch.Tensor] = []

    def keep(_: nn.Module, __: tuple[object, ...], output: object) -> None:
        # Of several results, named or not, the first; the next layer may work in place.
        first = next(iter(output.values())) if isinstance(output, Mapping) else output
        values.append(tensor(first).clone())

    hook = layer.register_forward_hook(keep)
    try:
        yield values
    finally:
        hook.remove()


def _joined(parts: Sequence[Tensors]) -> Tensors:
    """The results of all devices, in order; those of fewer objects an image are filled up."""
    if len(parts) == 1:
        return parts[0]
    return {name: _concatenated(name, [part[name] for part in parts]) for name in parts[0]}


def _concatenated(name: str, parts: Sequence[torch.Tensor]) -> torch.Tensor:
    found = [part.to("cpu") for part in parts]
    if name in PADDING or any(part.shape[1:] != found[0].shape[1:] for part in found):
        most = max(part.shape[1] for part in found)
        found = [
            functional.pad(
                part,
                (*(0,) * 2 * (part.dim() - 2), 0, most - part.shape[1]),
                value=PADDING.get(name, 0.0),
            )
            for part in found
        ]
    return torch.cat(found)
