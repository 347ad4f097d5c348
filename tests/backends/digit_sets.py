"""Real digits in memory, and a model small enough to train in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from ddstream.data import Array, Datasets, Normalise, Sample
from ddstream.errors import InputError

NORMALISE = Normalise(scale=1 / 16)


class TinyNet(nn.Module):
    """One convolution and one linear layer, for grey images of 8 x 8 and ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(torch.relu(self.conv(images)).flatten(1))
        return logits


@dataclass(frozen=True, eq=False)
class DigitSet:
    """Scanned digits of 8 x 8 grey pixels; `broken` ones cannot be read."""

    name: str
    images: Array
    targets: Sequence[int | Array]
    broken: frozenset[int] = frozenset()
    varied: bool = True
    reads: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        self.reads.append(index)
        if index in self.broken:
            raise InputError(f"{index}: not an image")
        image = self.images[index]
        if rng is not None and self.varied:
            # Varied as an augmentation would: the test of resumption needs it.
            image = np.roll(image, int(rng.integers(0, 2)), axis=1)
        return Sample(str(index), {"image": image}, self.targets[index], NORMALISE)


def digit_set(name: str, start: int, count: int) -> DigitSet:
    """`count` digits from number `start` on."""
    scans = load_digits()
    images = scans.images[start : start + count].astype(np.uint8)[..., None]
    return DigitSet(name, images, [int(t) for t in scans.target[start : start + count]])


def digits(train: int = 40, test: int = 20, sets: int = 1) -> Datasets:
    """Digits to train on and to test with; the test sets follow each other."""
    tests = [digit_set(f"test{i}", 1000 + i * test, test) for i in range(sets)]
    names = [str(digit) for digit in range(10)]
    return Datasets(digit_set("train", 0, train), tests, names, shuffle=True, seed=1)
