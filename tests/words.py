"""Printed words in several fonts, for what is to learn to read them.

No word of the test set was in the training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ddstream.data import Array

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSansMono.ttf",
)
NOISE = 12.0
"""Standard deviation of the values that are added to pixels."""


@dataclass(frozen=True)
class Words:
    """What lists of words are made of: words of random `letters`, each image in a random font.

    Images are `height` x `width` pixels; `length` is the least and the most letters of a word.
    A training word has `copies` images, a test word has one.
    """

    train: int = 200
    test: int = 20
    copies: int = 1
    letters: str = "aeinorst"
    length: tuple[int, int] = (2, 4)
    height: int = 32
    width: int = 64
    fonts: Sequence[str] = FONTS
    inverted: float = 0.5
    """Share of images with light ink on dark paper."""
    seed: int = 0


def write_words(folder: Path, words: Words | None = None) -> tuple[Path, Path]:
    """Write images below `folder`, and the lists of a training and a test set: `image word`."""
    words = words or Words()
    rng = np.random.default_rng(words.seed)
    chosen = _chosen(rng, words)
    sets = {"train": chosen[: words.train] * words.copies, "test": chosen[words.train :]}
    lists = []
    for name, found in sets.items():
        (folder / name).mkdir(parents=True)
        lines = []
        for number, word in enumerate(found):
            path = folder / name / f"{number:05}.png"
            assert cv2.imwrite(str(path), drawn(rng, word, words))
            lines.append(f"{path} {word}\n")
        lists.append(folder / f"{name}.txt")
        lists[-1].write_text("".join(lines), encoding="utf-8")
    return lists[0], lists[1]


def drawn(rng: np.random.Generator, word: str, words: Words) -> Array:
    """A word on paper of one grey, or the other way round: H x W, uint8."""
    name = (
        Path(matplotlib.get_data_path())
        / "fonts"
        / "ttf"
        / words.fonts[int(rng.integers(len(words.fonts)))]
    )
    font = ImageFont.truetype(str(name), int(rng.integers(18, 24)))
    paper, ink = rng.integers(170, 256), rng.integers(0, 80)
    if rng.random() < words.inverted:
        paper, ink = ink, paper
    page = Image.new("L", (words.width, words.height), int(paper))
    draw = ImageDraw.Draw(page)
    left, top, right, bottom = draw.textbbox((0, 0), word, font=font)
    free = max(1, words.width - int(right - left)), max(1, words.height - int(bottom - top))
    at = (int(rng.integers(free[0])) - left, int(rng.integers(free[1])) - top)
    draw.text(at, word, fill=int(ink), font=font)
    noisy = np.asarray(page, np.float64) + rng.normal(0, NOISE, (words.height, words.width))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _chosen(rng: np.random.Generator, words: Words) -> list[str]:
    """Words, each of them once."""
    found: dict[str, None] = {}
    least, most = words.length
    possible = sum(len(words.letters) ** length for length in range(least, most + 1))
    assert words.train + words.test < possible, "too few words of these letters"
    while len(found) < words.train + words.test:
        length = int(rng.integers(least, most + 1))
        found["".join(rng.choice(list(words.letters), length))] = None
    return list(found)
