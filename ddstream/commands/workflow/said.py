"""What a user said, and what a profile and a repository make of it: the options of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ddstream.api.parameters import present
from ddstream.commands.workflow.layers import assignments, config, effective
from ddstream.commands.workflow.options import InferOptions, TrainOptions
from ddstream.commands.workflow.profiles import Profile, profile
from ddstream.commands.workflow.run_folder import CONFIG
from ddstream.connectors.locate import visible
from ddstream.templates import TEMPLATES

_OF_A_RUN = frozenset({"resume", "repository_override", "run_name", "terminal", "timeout"})
"""Options that a later run must not take over."""
_OF_THE_MODEL = (
    *("nclasses", "ntargets", "width", "height"),
    *("input_parameters", "service_mllib"),
)
"""Options of a training that hold for predictions too."""


@dataclass(frozen=True, slots=True)
class Said:
    """What stands on a command line."""

    name: str
    config: Path | None
    flags: Mapping[str, Any]
    assignments: Sequence[str]

    def layer(self) -> dict[str, Any]:
        """All that was said: the file, flags over it, `--set` over both. Raises ValueError."""
        file = config(self.config) if self.config else {}
        return effective([file, self.flags, assignments(self.assignments)])


def training(said: Said) -> tuple[Profile, TrainOptions]:
    """The options of a training. Raises ValueError for wrong ones, FileNotFoundError."""
    layer = said.layer()
    data = [Path(str(layer["train_data"]))] if layer.get("train_data") else []
    found = profile(said.name, TEMPLATES, data)
    options = TrainOptions.of(effective([found.training(layer), layer]))
    count = _classes(found, options)
    return found, options.model_copy(update={"nclasses": count}) if count else options


def predicting(said: Said, images: Sequence[str]) -> tuple[Profile, InferOptions]:
    """The options of predictions from `images` and from what a file lists. Raises as `training`."""
    layer = said.layer()
    listed = layer.get("images_file")
    given = images or layer.get("images") or ()
    elements = [*given, *(_lines(Path(listed)) if listed else ())]
    found = profile(said.name, TEMPLATES, [Path(each) for each in elements])
    kept = _kept(Path(str(layer["repository"]))) if layer.get("repository") else {}
    layers = [found.predicting(), kept, {**layer, "images": elements}]
    return found, InferOptions.of(effective(layers))


def written(options: TrainOptions) -> bytes:
    """The effective options as a YAML file that another run can start from."""
    plain = options.model_dump(mode="json", exclude=set(_OF_A_RUN), exclude_none=True)
    return yaml.safe_dump(present(plain), sort_keys=False, allow_unicode=True).encode()


def told(options: TrainOptions) -> Any:
    """The effective options as JSON."""
    return options.model_dump(mode="json", exclude_none=True)


def _kept(repository: Path) -> dict[str, Any]:
    """What the training of this repository says of its model."""
    path = repository / CONFIG
    found = config(path) if path.is_file() else {}
    return {name: found[name] for name in _OF_THE_MODEL if name in found}


def _classes(found: Profile, options: TrainOptions) -> int:
    """The number of class folders of a classifier that was not told it; 0 if there are none."""
    classifies = found.family == "images" or found.name == "bert"
    counted = options.nclasses or options.ntargets or options.service_mllib.get("self_supervised")
    if not classifies or counted or options.train_data is None or not options.train_data.is_dir():
        return 0
    return sum(each.is_dir() for each in visible(options.train_data))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
