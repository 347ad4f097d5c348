"""Real handwritten digits scattered over real photographs, with their boxes and masks.

Nothing of a test scene was in a training scene: neither the scan of a digit nor the photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_images

from ddstream.data import Array

PHOTOGRAPHS = {
    "train": ("china.jpg", "astronaut.png", "chelsea.png", "coffee.png"),
    "test": ("flower.jpg", "rocket.jpg"),
}
HELD_OUT = 0.25
"""Share of each digit's scans that only test scenes have."""
INK = 0.35
"""Part of full ink from which on a pixel belongs to its digit."""
APART = 0.1
"""Most intersection over union of two boxes of a scene."""


@dataclass(frozen=True)
class Scenes:
    """What scenes are made of: squares of `side` pixels, each with 1 to `objects` digits.

    The digits are 0 to `digits - 1`; a digit d has class d + 1, 0 is the background. Their height
    is drawn between the two shares of the side.
    """

    train: int = 100
    test: int = 20
    side: int = 96
    digits: int = 3
    objects: int = 3
    height: tuple[float, float] = (0.25, 0.5)
    seed: int = 0

    @property
    def boxes(self) -> int:
        """The number of object classes."""
        return self.digits

    @property
    def masks(self) -> int:
        """The number of classes of a pixel, the background with them."""
        return self.digits + 1


@dataclass(frozen=True)
class SceneFiles:
    """List files of a training set and of a test set, with the boxes or with the masks."""

    boxes: tuple[Path, Path]
    masks: tuple[Path, Path]


@dataclass(frozen=True)
class Scene:
    """An image H x W x 3 BGR, its mask of class numbers, and rows of class and box."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    rows: Sequence[tuple[int, int, int, int, int]]


def write_scenes(folder: Path, scenes: Scenes | None = None) -> SceneFiles:
    """Write the scenes below `folder`: images, boxes, masks and the lists of each; same seed, same
    files.

    A box file has a line `class xmin ymin xmax ymax` a digit, in pixels, the upper ends excluded.
    """
    scenes = scenes or Scenes()
    lists = {name: _write(folder, name, scenes) for name in ("train", "test")}
    return SceneFiles(
        boxes=(lists["train"][0], lists["test"][0]), masks=(lists["train"][1], lists["test"][1])
    )


def made(name: str, scenes: Scenes) -> list[Scene]:
    """The scenes of the set `train` or `test`."""
    rng = np.random.default_rng((scenes.seed, list(PHOTOGRAPHS).index(name)))
    photographs = [_photograph(each) for each in PHOTOGRAPHS[name]]
    scans = _scans(name, scenes.digits)
    count = scenes.train if name == "train" else scenes.test
    return [_scene(rng, scenes, photographs, scans) for _ in range(count)]


def _write(folder: Path, name: str, scenes: Scenes) -> tuple[Path, Path]:
    boxes, masks = [], []
    for each in ("images", "boxes", "masks"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(made(name, scenes)):
        stem = f"{name}-{number:04}"
        image, mask = (folder / each / f"{stem}.png" for each in ("images", "masks"))
        assert cv2.imwrite(str(image), scene.image)
        assert cv2.imwrite(str(mask), scene.mask)
        text = folder / "boxes" / f"{stem}.txt"
        text.write_text("".join(" ".join(map(str, row)) + "\n" for row in scene.rows))
        boxes.append(f"{image} {text}\n")
        masks.append(f"{image} {mask}\n")
    found = folder / "detection" / f"{name}.txt", folder / "segmentation" / f"{name}.txt"
    for path, lines in zip(found, (boxes, masks), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(lines))
    return found


def _photograph(name: str) -> Array:
    """One of the photographs that scikit-learn and scikit-image ship, H x W x 3 BGR."""
    shipped = load_sample_images()
    names = [Path(each).name for each in shipped.filenames]
    if name in names:
        return np.asarray(shipped.images[names.index(name)])[..., ::-1]
    image = cv2.imread(str(Path(skimage.__file__).parent / "data" / name))
    assert image is not None
    return image


def _scans(name: str, digits: int) -> list[Array]:
    """For each digit its scans of this set, N x 8 x 8, ink from 0 to 1."""
    scans = load_digits()
    found = []
    for digit in range(digits):
        images = scans.images[scans.target == digit] / 16
        first = int(len(images) * (1 - HELD_OUT))
        found.append(images[:first] if name == "train" else images[first:])
    return found


def _scene(
    rng: np.random.Generator,
    scenes: Scenes,
    photographs: Sequence[Array],
    scans: Sequence[Array],
) -> Scene:
    image = _patch(rng, photographs[int(rng.integers(len(photographs)))], scenes.side)
    mask = np.zeros(image.shape[:2], np.uint8)
    rows: list[tuple[int, int, int, int, int]] = []
    for _ in range(rng.integers(1, scenes.objects + 1)):
        digit = int(rng.integers(scenes.digits))
        ink = _drawn(rng, scans[digit], scenes)
        high, wide = ink.shape
        left, top = (int(rng.integers(scenes.side - size + 1)) for size in (wide, high))
        box = (left, top, left + wide, top + high)
        if any(_overlap(box, row[1:]) > APART for row in rows):
            continue
        _paint(image, mask, (left, top), ink, (digit + 1, _colour(rng, image, box)))
        rows.append((digit + 1, *box))
    return Scene(image, mask, rows)


def _patch(rng: np.random.Generator, photograph: Array, side: int) -> NDArray[np.uint8]:
    """A square of the photograph, of a half to all of its height, in the size of a scene."""
    high, wide = photograph.shape[:2]
    cut = int(rng.integers(min(high, wide) // 2, min(high, wide) + 1))
    top, left = rng.integers(high - cut + 1), rng.integers(wide - cut + 1)
    square = photograph[top : top + cut, left : left + cut]
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _drawn(rng: np.random.Generator, scans: Array, scenes: Scenes) -> Array:
    """The ink of one of the scans in a random size, without empty rows and columns around it."""
    least, most = scenes.height
    high = int(scenes.side * rng.uniform(least, most))
    scan = scans[rng.integers(len(scans))].astype(np.float32)
    ink = np.clip(cv2.resize(scan, (high, high), interpolation=cv2.INTER_CUBIC), 0, 1)
    rows, columns = (np.flatnonzero((ink >= INK).any(axis=axis)) for axis in (1, 0))
    return np.asarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _colour(rng: np.random.Generator, image: Array, box: Sequence[int]) -> Array:
    """A bright colour on what is dark, a dark one on what is bright."""
    left, top, right, bottom = box
    bright = image[top:bottom, left:right].mean() > 127
    return rng.uniform(0, 60, 3) if bright else rng.uniform(195, 255, 3)


def _paint(
    image: Array, mask: Array, at: tuple[int, int], ink: Array, what: tuple[int, Array]
) -> None:
    """Paint a digit's ink over the image and its class into the mask."""
    (left, top), (label, colour) = at, what
    place = np.s_[top : top + ink.shape[0], left : left + ink.shape[1]]
    share = ink[..., None]
    image[place] = (1 - share) * image[place] + share * colour
    mask[place][ink >= INK] = label


def _overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Intersection over union of two boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)
