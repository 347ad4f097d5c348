"""Augmentation: in which order pictures are varied, and what of it is possible (contract 5.7)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

import cv2
import numpy as np

from ddstream.api.augment import Augmentation
from ddstream.api.image import ImageInput
from ddstream.connectors.images.distort import distorted
from ddstream.connectors.images.geometry import transformed
from ddstream.connectors.images.noise import noisy
from ddstream.connectors.images.picture import Picture, check_crop
from ddstream.connectors.images.resize import final_size
from ddstream.data import Array, Sample
from ddstream.errors import ParameterError

_TEST_SEED: Final = 1
"""Crops of test images are the same in every test."""

Step: TypeAlias = Callable[[Augmentation, Picture, np.random.Generator], Picture]


@dataclass(frozen=True, slots=True)
class Variation:
    """What a request makes of samples when they are read."""

    wanted: Augmentation
    rgb: bool = False
    colour: bool = True
    """Images have colours, in the order RGB with `rgb`, else BGR."""

    @classmethod
    def of(cls, wanted: Augmentation, images: ImageInput) -> tuple[Self, list[str]]:
        """The variation of such images, and warnings of what has no effect.

        Raises ParameterError for what is impossible.
        """
        warnings = []
        size, side = final_size(images), wanted.crop_size
        if side > 0 and size:
            check_crop(side, *size)
        square = side > 0 or (size is not None and size[0] == size[1])
        if wanted.rotate and not square:
            warnings.append("parameters.mllib.rotate is disabled: width and height differ")
            wanted = wanted.model_copy(update={"rotate": False})
        if wanted.test_crop_samples > 1 and side <= 0:
            warnings.append("parameters.mllib.test_crop_samples needs crop_size")
        for name in ("noise", "distort"):
            if images.unchanged_data and getattr(wanted, name) is not None:
                raise ParameterError(
                    f"parameters.mllib.{name} changes pixels: parameters.input.unchanged_data "
                    "does not allow it"
                )
        return cls(wanted, images.rgb, not images.bw), warnings

    @property
    def crops(self) -> int:
        """How many samples a test image gives."""
        return self.wanted.test_crop_samples if self.wanted.crop_size > 0 else 1

    def varied(self, sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
        """A sample varied where `rng` is given; a crop of it is made always."""
        picture = Picture.of(sample)
        if rng is not None:
            return self.picture(picture, rng).within(sample)
        if self.wanted.crop_size > 0:
            rng = np.random.default_rng((_TEST_SEED, index))
            return cropped(picture, self.wanted.crop_size, rng).within(sample)
        return sample

    def picture(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """A training picture's variation."""
        steps = _STEPS if picture.boxes is None else _STEPS_OF_BOXES
        for step in steps:
            picture = step(self.wanted, picture, rng)
        return self._coloured(picture, rng)

    def _coloured(self, picture: Picture, rng: np.random.Generator) -> Picture:
        noise, distort = self.wanted.noise, self.wanted.distort
        if noise is None and distort is None:
            return picture
        shape = picture.image.shape
        image = picture.image[..., 0] if shape[2] == 1 else picture.image
        image = self._reordered(image)
        if noise is not None:
            image = noisy(image, noise.prob, rng, colour=self.colour)
        if distort is not None:
            image = distorted(image, distort.prob, rng, colour=self.colour)
        return replace(picture, image=self._reordered(image).reshape(shape))

    def _reordered(self, image: Array) -> Array:
        """RGB from BGR and back; other images as they are."""
        reorders = self.rgb and self.colour
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if reorders else image


def _geometry(wanted: Augmentation, picture: Picture, rng: np.random.Generator) -> Picture:
    if wanted.geometry is not None and rng.random() < wanted.geometry.prob:
        return transformed(picture, wanted.geometry, rng)
    return picture


def _cutout(wanted: Augmentation, picture: Picture, rng: np.random.Generator) -> Picture:
    if wanted.cutout and rng.random() < wanted.cutout:
        return replace(picture, image=cutout(picture.image, rng))
    return picture


def _crop(wanted: Augmentation, picture: Picture, rng: np.random.Generator) -> Picture:
    return cropped(picture, wanted.crop_size, rng) if wanted.crop_size > 0 else picture


def _mirror(wanted: Augmentation, picture: Picture, rng: np.random.Generator) -> Picture:
    return picture.mirrored() if wanted.mirror and rng.random() < 0.5 else picture


def _rotate(wanted: Augmentation, picture: Picture, rng: np.random.Generator) -> Picture:
    return picture.turned(int(rng.integers(4))) if wanted.rotate else picture


_STEPS: Final[tuple[Step, ...]] = (_geometry, _cutout, _crop, _mirror, _rotate)
_STEPS_OF_BOXES: Final[tuple[Step, ...]] = (_mirror, _rotate, _crop, _cutout, _geometry)


def cropped(picture: Picture, side: int, rng: np.random.Generator) -> Picture:
    """A random square of a picture. Raises ParameterError if the picture is smaller."""
    height, width = picture.size
    check_crop(side, height, width)
    top = int(rng.integers(height - side + 1))
    left = int(rng.integers(width - side + 1))
    return picture.cut(top, left, side)


def cutout(image: Array, rng: np.random.Generator) -> Array:
    """A copy in which a rectangle is noise of all values that the image could have.

    Its area is 0.02 to 0.4 of the image, its height 0.3 to 3 times its width; what would not fit
    is as high or as wide as the image.
    """
    height, width = image.shape[:2]
    area = rng.uniform(0.02, 0.4) * height * width
    aspect = rng.uniform(0.3, 3.0)
    high = min(height, max(1, round(math.sqrt(area * aspect))))
    wide = min(width, max(1, round(math.sqrt(area / aspect))))
    top = int(rng.integers(height - high + 1))
    left = int(rng.integers(width - wide + 1))
    image = image.copy()
    patch = image[top : top + high, left : left + wide]
    if image.dtype.kind == "f":
        patch[:] = rng.uniform(image.min(), image.max(), size=patch.shape)
    else:
        patch[:] = rng.integers(np.iinfo(image.dtype).max + 1, size=patch.shape, dtype=image.dtype)
    return image
