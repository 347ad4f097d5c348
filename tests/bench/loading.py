"""Case l: what threads add to the reading and varying of images with masks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.objectives import OBJECTIVES
from ddstream.backends.torch.training.loader import Loader, Reading
from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Dataset
from ddstream.repository import Repository
from examples.scenes import Scenes, write_scenes
from tests.bench.ground import Ground
from tests.bench.result import Result

SIDE, CROP, BATCH, THREADS = 320, 224, 8, 2
INPUT = {"connector": "image", "width": SIDE, "height": SIDE, "segmentation": True}
MLLIB: dict[str, Any] = {
    "nclasses": 4,
    "mirror": True,
    "rotate": True,
    "crop_size": CROP,
    "cutout": 0.5,
    "geometry": {"prob": 0.5, "pad_mode": "mirrored"},
    "noise": {"prob": 0.1},
    "distort": {"prob": 0.5},
}


def loading(ground: Ground) -> Result:
    """(l) Augmented images and masks a second, by two threads beside one."""
    lists = write_scenes(ground.folder / "scenes", Scenes(train=64, test=1, side=SIDE)).masks
    data = _data(lists, ground.folder)
    epochs = ground.scaled(12)
    alone, together = [], []
    for _ in range(ground.rounds):
        alone.append(_rate(data, 1, epochs))
        together.append(_rate(data, THREADS, epochs))
    return Result(
        case="l",
        what=f"augmented images of {SIDE} x {SIDE} with masks, {THREADS} threads beside one",
        unit="images/s",
        ours=together,
        reference=alone,
        goal=1.5,
        note=f"{THREADS} idle cores are needed",
    )


def _data(lists: tuple[Path, Path], folder: Path) -> Dataset:
    return ImageConnector(INPUT, Repository(folder)).datasets(lists, MLLIB).train


def _rate(data: Dataset, threads: int, epochs: int) -> float:
    """Samples a second of so many epochs; the threads' first batches are not counted."""
    training = TorchTraining.model_validate({"nclasses": 4, "solver": {"iterations": 1}})
    objective = OBJECTIVES.load("segmentation")(training)
    loader = Loader(data, Reading(BATCH, threads, shuffle=True, training=True), objective)
    batches = loader.batches(0, loader.per_epoch * (epochs + 1))
    for _ in range(loader.per_epoch):
        next(batches)
    began = time.perf_counter()
    number = sum(len(batch) for batch in batches)
    return number / (time.perf_counter() - began)
