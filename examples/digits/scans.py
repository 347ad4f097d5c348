"""Real handwritten digits (scikit-learn ships 1,797 scans) as PNG files in class folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT = 0.2


@dataclass(frozen=True, slots=True)
class Scan:
    """One image file, and the digit that its writer meant."""

    path: Path
    digit: str


def write_scans(folder: Path, side: int = 8) -> tuple[list[Scan], list[Scan]]:
    """Write `folder/train/DIGIT/*.png` and `folder/held-out/DIGIT/*.png`; gives the scans of both.

    A fifth of each digit is held out. `side` is in pixels; the originals have 8.
    """
    digits = load_digits()
    numbers = np.arange(len(digits.target))
    parts = train_test_split(
        numbers, test_size=HELD_OUT, stratify=digits.target, shuffle=True, random_state=0
    )
    written = []
    for name, part in zip(("train", "held-out"), parts, strict=True):
        scans = [_scan(folder / name, digits.target[number], number) for number in part]
        for number, scan in zip(part, scans, strict=True):
            scan.path.parent.mkdir(parents=True, exist_ok=True)
            # The scans count ink in 17 steps, on black.
            pixels = (digits.images[number] * (255 / 16)).astype(np.uint8)
            cv2.imwrite(str(scan.path), cv2.resize(pixels, (side, side)))
        written.append(scans)
    train, held_out = written
    return train, held_out


def _scan(folder: Path, digit: int, number: int) -> Scan:
    return Scan(folder / str(digit) / f"{number:04}.png", str(digit))
