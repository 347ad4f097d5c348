"""Augmentation of images: the part of `parameters.mllib` that changes training samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field

from ddstream.api.parameters import ParameterObject
from ddstream.errors import ParameterError


class Geometry(ParameterObject):
    """`mllib.geometry`: perspective, zoom and shift; what they uncover is filled by `pad_mode`."""

    prob: float = Field(ge=0, le=1, description="Probability for each image; mandatory.")
    persp_horizontal: bool = Field(default=True, description="Left or right side comes nearer.")
    persp_vertical: bool = Field(default=True, description="Upper or lower side comes nearer.")
    transl_horizontal: bool = Field(default=False, description="Shift to the left or right.")
    transl_vertical: bool = Field(default=False, description="Shift up or down.")
    zoom_in: bool = Field(default=True, description="Enlarge; with `zoom_out` one of the two.")
    zoom_out: bool = Field(default=True, description="Make smaller.")
    persp_factor: float = Field(default=0.25, ge=0, le=1, description="Most of a perspective.")
    zoom_factor: float = Field(default=0.25, ge=0, lt=1, description="Most of a zoom.")
    transl_factor: float = Field(default=0.5, ge=0, le=1, description="Most of a shift.")
    pad_mode: Literal["constant", "mirrored", "repeat_nearest"] = Field(
        default="constant", description="constant (black), mirrored or repeat_nearest."
    )


class Noise(ParameterObject):
    """`mllib.noise`: eleven effects, each drawn on its own."""

    prob: float = Field(ge=0, le=1, description="Probability of each effect; mandatory.")


class Distort(ParameterObject):
    """`mllib.distort`: brightness, contrast, saturation, hue, order of the channels."""

    prob: float = Field(ge=0, le=1, description="Probability of each effect; mandatory.")


class Augmentation(ParameterObject):
    """How training images are varied (contract 5.7)."""

    mirror: bool = Field(default=False, description="Flip half of the images.")
    rotate: bool = Field(default=False, description="Turn images by multiples of 90 degrees.")
    crop_size: int = Field(default=0, description="Side of a random square crop; 0: none.")
    test_crop_samples: int = Field(
        default=1, ge=1, le=1000, description="Crops of each test image."
    )
    cutout: float = Field(default=0.0, ge=0, le=1, description="Probability of a cut-out patch.")
    geometry: Geometry | None = Field(default=None, description="Perspective, zoom and shift.")
    noise: Noise | None = Field(default=None, description="Effects of cameras and files.")
    distort: Distort | None = Field(default=None, description="Changes of colours.")

    @classmethod
    def of(cls, mllib: Mapping[str, Any]) -> Self:
        """The augmentation in a raw `parameters.mllib`. Raises ParameterError."""
        own = {name: mllib[name] for name in cls.model_fields if name in mllib}
        return cls.parse(own, "parameters.mllib", ParameterError)
