"""Where options come from, lowest first: the profile, a YAML file, flags, `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ddstream.api.parameters import merged

Layer = Mapping[str, Any]

_AUGMENTATION = (
    *("mirror", "rotate", "crop_size", "test_crop_samples", "cutout"),
    *("geometry", "noise", "distort"),
)
ALIASES: Mapping[str, str] = {
    "mllib.solver.iterations": "iterations",
    "mllib.solver.test_interval": "test_interval",
    "mllib.solver.base_lr": "base_lr",
    "mllib.solver.iter_size": "iter_size",
    "mllib.net.batch_size": "batch_size",
    "mllib.class_weights": "class_weights",
    "input_parameters.width": "width",
    "input_parameters.height": "height",
    "service_mllib.nclasses": "nclasses",
    "service_mllib.ntargets": "ntargets",
    "service_mllib.gpu": "gpu",
    "service_mllib.gpuid": "gpuid",
    **{f"mllib.{name}": f"augmentation.{name}" for name in _AUGMENTATION},
}
"""Members of the API's parameters that are options too: a layer may say either."""


def effective(layers: Iterable[Layer]) -> dict[str, Any]:
    """The options that hold: later layers go on top, mappings merge, lists replace."""
    result: dict[str, Any] = {}
    for layer in layers:
        result = merged(result, plain(layer))
    return result


def plain(layer: Layer) -> dict[str, Any]:
    """A layer in which each value stands under its option, not under the API's parameter.

    So a flag goes over a file that has the parameter, and the other way round.
    """
    found = merged({}, layer)
    for long, short in ALIASES.items():
        value, rest = _taken(found, long.split("."))
        if rest is None:
            continue
        found = rest
        if _taken(found, short.split("."))[1] is None:
            found = merged(found, nested(short, value))
    return found


def config(path: Path) -> dict[str, Any]:
    """The options of a YAML file. Raises ValueError if it is no mapping."""
    return _mapping(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """The options of `key=value` texts: dots nest, the value is YAML. Raises ValueError."""
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not all(key.split(".")):
            raise ValueError(f"--set wants key=value, not {text!r}")
        try:
            found = merged(found, nested(key, yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise ValueError(f"--set {key}: the value is no YAML") from error
    return found


def nested(key: str, value: Any) -> dict[str, Any]:
    """`a.b` and a value as mappings in each other."""
    for step in reversed(key.split(".")):
        value = {step: value}
    found: dict[str, Any] = value
    return found


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{where} is no mapping of options")
    return value


def _taken(layer: Layer, steps: Sequence[str]) -> tuple[Any, dict[str, Any] | None]:
    """The value at a path, and the layer without it; None for the layer if nothing is there."""
    first, *rest = steps
    if first not in layer:
        return None, None
    if not rest:
        return layer[first], {name: value for name, value in layer.items() if name != first}
    below = layer[first]
    if not isinstance(below, Mapping):
        return None, None
    value, without = _taken(below, rest)
    return value, None if without is None else {**layer, first: without}
