"""Case k: the memory of a training whose images are kept on disk, few of them and many."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.objectives import OBJECTIVES
from ddstream.backends.torch.training.loader import Loader, Reading
from ddstream.connectors.images.connector import ImageConnector
from ddstream.repository import Repository
from tests.bench.ground import Ground
from tests.bench.result import Result

SIDE, CLASSES, BATCH, THREADS = 64, 10, 64, 2
FEW, MANY = 1_000, 100_000
INPUT = {"connector": "image", "width": SIDE, "height": SIDE, "db": True, "test_split": 0.01}
TRAINING = {"nclasses": CLASSES, "solver": {"iterations": 1}}


def memory(ground: Ground) -> Result:
    """(k) Peak resident memory of making and reading a set of 100,000 images, over one of 1,000."""
    # One round, however long the run: the same data need the same memory.
    many = ground.scaled(MANY)
    few = _measured(ground.folder / "few", FEW)
    found = _measured(ground.folder / "many", many)
    more = (found - few) * (1 << 20) / (many - FEW)
    return Result(
        case="k",
        what=f"resident memory, {many} images of {SIDE} x {SIDE} with db, beside {FEW}",
        unit="MiB",
        ours=[found],
        reference=[few],
        goal=1.05,
        better="lower",
        note=f"{more:.0f} bytes an image more; decoded it has {SIDE * SIDE * 3}",
    )


def _measured(folder: Path, number: int) -> float:
    """MiB that a process needed at most for a set of so many images: made, then read once."""
    write_images(folder / "images", number)
    command = (sys.executable, "-m", "tests.bench.memory", str(folder))
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return int(told.stdout) / 1024


def write_images(folder: Path, number: int) -> None:
    """So many images in class folders, no two of them the same."""
    rng = np.random.default_rng(0)
    for each in range(CLASSES):
        (folder / str(each)).mkdir(parents=True)
    ramp = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8)
    for index in range(number):
        image = ramp[..., np.newaxis] + rng.integers(0, 64, 3, dtype=np.uint8)
        image[rng.integers(SIDE), :] = index % 251
        cv2.imwrite(str(folder / str(index % CLASSES) / f"{index}.jpg"), image)


def read_once(folder: Path) -> int:
    """Make the set, go through it once as a training does; the peak of this process in KiB."""
    repository = folder / "repository"
    repository.mkdir()
    data = ImageConnector(INPUT, Repository(repository)).datasets([folder / "images"], {})
    objective = OBJECTIVES.load("classification")(TorchTraining.model_validate(TRAINING))
    reading = Reading(BATCH, THREADS, shuffle=True, training=True)
    loader = Loader(data.train, reading, objective)
    seen = sum(len(batch) for batch in loader.batches(0, loader.per_epoch))
    assert seen == len(data.train)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(read_once(Path(sys.argv[1])))
