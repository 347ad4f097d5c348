"""Profiles: the options that a template starts with, and what its data are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddstream.api.parameters import merged
from ddstream.commands.workflow.options import Unavailable
from ddstream.templates import FAMILIES, Family

_TASKS: Mapping[Family, str] = {
    "images": "classification or regression",
    "boxes": "detection",
    "masks": "segmentation",
    "letters": "ctc",
    "series": "timeserie",
    "tokens": "classification or language",
    "tables": "classification, regression or autoencoder",
}
_TASKS_OF: Mapping[str, str] = {"gpt2": "language"}

ELSEWHERE = ("torchvision-detector", "external-pytorch-detector", "vitpose", "sam2")
"""Workflows of the document that need the managed Python worker, which is not on Torch."""

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

_TOKENS = {"ordered_words": True, "wordpiece_tokens": True, "punctuation_tokens": True}
_DEFAULTS: Mapping[Family, Mapping[str, Any]] = {
    "images": {
        "width": 224,
        "height": 224,
        "input_parameters": {"connector": "image", "rgb": True, "scale": 0.0039, "shuffle": True},
    },
    "boxes": {
        "width": 640,
        "height": 640,
        "nclasses": 2,
        "base_lr": 1e-4,
        "batch_size": 2,
        "input_parameters": {"connector": "image", "rgb": True, "bbox": True, "shuffle": True},
    },
    "masks": {
        "width": 480,
        "height": 480,
        "nclasses": 2,
        "base_lr": 1e-4,
        "batch_size": 4,
        "input_parameters": {
            **{"connector": "image", "rgb": True, "segmentation": True, "shuffle": True},
            **{"scale": 0.0039, **_IMAGENET},
        },
        "service_mllib": {"segmentation": True},
    },
    "letters": {
        "width": 128,
        "height": 32,
        "input_parameters": {"connector": "image", "ctc": True, "scale": 0.0039, "shuffle": True},
        "service_mllib": {"ctc": True},
    },
    "series": {"input_parameters": {"connector": "csvts"}},
    "tokens": {"input_parameters": {"connector": "txt", "shuffle": True, **_TOKENS}},
    "tables": {"input_parameters": {"connector": "csv", "shuffle": True}},
}
_OWN: Mapping[str, Mapping[str, Any]] = {
    "yolox": {
        "iter_size": 2,
        "input_parameters": {"seed": 12347},
        "augmentation": {
            **{"mirror": True, "rotate": True, "cutout": 0.1, "crop_size": 0},
            **{"geometry": {"prob": 0.1}, "noise": {"prob": 0.01}, "distort": {"prob": 0.01}},
        },
    },
    "segformer": {
        "input_parameters": {"seed": 12345},
        "augmentation": {
            **{"mirror": True, "rotate": True, "cutout": 0.5, "crop_size": 224},
            **{"geometry": {"prob": 0.1}, "noise": {"prob": 0.01}, "distort": {"prob": 0.01}},
        },
    },
}
ANSWERS: Mapping[Family, Mapping[str, Any]] = {
    "boxes": {"bbox": True},
    "letters": {"ctc": True, "blank_label": 0},
}
"""Output parameters without which an answer has nothing to show."""
_MEASURES: Mapping[Family, Sequence[str]] = {
    **dict.fromkeys(("images", "tokens", "tables"), ("acc", "f1")),
    "boxes": ("map-05", "map-50", "map-90"),
    "masks": ("meaniou", "acc"),
    "letters": ("acc",),
    "series": ("L1", "smape"),
}
_TRAINING = ("base_lr", "augmentation", "iter_size", "mllib")


@dataclass(frozen=True, slots=True)
class Profile:
    """A template's options before anybody says any, and the kind of its data."""

    name: str
    family: Family
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """What it can do."""
        return _TASKS_OF.get(self.name, _TASKS[self.family])

    @property
    def images(self) -> bool:
        """Its data are images."""
        return self.family in ("images", "boxes", "masks", "letters")

    def training(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults of a training whose user said these options."""
        wanted = {**self.defaults, "output_parameters": {"measure": self._measures(said)}}
        sides = [side for name in ("width", "height") if isinstance(side := said.get(name), int)]
        if sides and min(sides) < wanted.get("augmentation", {}).get("crop_size", 0):
            # The profile's own crop is for its own size.
            wanted["augmentation"] = {**wanted["augmentation"], "crop_size": 0}
        return wanted

    def _measures(self, said: Mapping[str, Any]) -> list[str]:
        numbers = bool(said.get("ntargets") and not said.get("nclasses"))
        numbers = numbers or (said.get("input_parameters") or {}).get("autoencoder") is True
        return ["eucll"] if numbers else list(_MEASURES[self.family])

    def predicting(self) -> dict[str, Any]:
        """The defaults of predictions: what is about training is left out."""
        wanted = {name: value for name, value in self.defaults.items() if name not in _TRAINING}
        wanted["batch_size"] = 1
        wanted["output_parameters"] = ANSWERS.get(self.family, {})
        return wanted


def profile(name: str, templates: Iterable[str], data: Sequence[Path] = ()) -> Profile:
    """The profile of a template. Raises Unavailable for one that there is not, and says which are.

    A table in a file of sparse rows (`.svm`, `.libsvm`) is read as such.
    """
    known = sorted(templates)
    if name in ELSEWHERE:
        raise Unavailable(f"{name} is not available on Torch; there is: {', '.join(known)}")
    if name not in known:
        raise Unavailable(f"there is no template {name}; there is: {', '.join(known)}")
    family = FAMILIES.get(name, "images")
    basic = {"mllib": {"solver": {"solver_type": "ADAM"}}, "batch_size": 8, **_DEFAULTS[family]}
    if family == "tables" and any(path.suffix in (".svm", ".libsvm") for path in data):
        basic = merged(basic, {"input_parameters": {"connector": "svm"}})
    return Profile(name, family, merged(basic, _OWN.get(name, {})))
