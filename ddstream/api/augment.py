"""Augmentation of images: the part of `parameters.mllib` that changes training samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from ddstream.api.parameters import ParameterObject
from ddstream.errors import ParameterError


class Augmentation(ParameterObject):
    """How training images are varied (contract 5.7)."""

    mirror: bool = Field(default=False, description="Flip half of the images.")
    rotate: bool = Field(default=False, description="Turn images by multiples of 90 degrees.")
    crop_size: int = Field(default=0, description="Side of a random square crop; 0: none.")
    test_crop_samples: int = Field(default=1, ge=1, description="Crops of each test image.")
    cutout: float = Field(default=0.0, ge=0, le=1, description="Probability of a cut-out patch.")

    @classmethod
    def of(cls, mllib: Mapping[str, Any]) -> Self:
        """The augmentation in a raw `parameters.mllib`. Raises ParameterError."""
        own = {name: mllib[name] for name in cls.model_fields if name in mllib}
        return cls.parse(own, "parameters.mllib", ParameterError)
