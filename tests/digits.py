"""Real handwritten digits as class folders of PNG files: what the tests train on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits

SIDE = 32


def write_digits(folder: Path, *, train: int, test: int) -> tuple[Path, Path]:
    """Write `train` and `test` scans of each digit below `folder`; gives the two sets' folders."""
    scans = load_digits()
    for digit in range(10):
        images = scans.images[scans.target == digit]
        _write(folder / "train" / str(digit), images[:train])
        _write(folder / "test" / str(digit), images[train : train + test])
    return folder / "train", folder / "test"


def _write(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        grey = (image * (255 / 16)).astype(np.uint8)
        large = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        assert cv2.imwrite(str(folder / f"{number:03}.png"), large)
