"""`parameters.input` of the image connector."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ddstream.api.parameters import Numbers, ParameterObject

INTERPOLATIONS = ("cubic", "linear", "nearest", "lanczos4", "area")


class ImageInput(ParameterObject):
    """How images become samples (contract 3.2). Sizes are pixels."""

    connector: Literal["image"] = Field(default="image", description="`image`.")
    timeout: int = Field(default=6000, ge=-1, le=36000, description="Seconds to fetch the data.")
    width: int = Field(default=227, description="Width after resizing; -1 keeps it.")
    height: int = Field(default=227, description="Height after resizing; -1 keeps it.")
    crop_width: int = Field(default=0, ge=0, description="Width of a centre crop; 0 is none.")
    crop_height: int = Field(default=0, ge=0, description="Height of a centre crop; 0 is none.")
    aspect_ratio_pad: bool = Field(
        default=False, description="With one size of -1: pad to a square, black, centred."
    )
    bw: bool = Field(default=False, description="Decode as grey.")
    rgb: bool = Field(default=False, description="Channels in RGB order, not BGR.")
    histogram_equalization: bool = Field(default=False, description="Equalise the luminance.")
    unchanged_data: bool = Field(default=False, description="Keep depth and channels of the file.")
    interp: str = Field(
        default="cubic", description="cubic, linear, nearest, lanczos4 or area; others are cubic."
    )
    cuda: bool = Field(default=False, description="Resize on the GPU where OpenCV can.")
    scale: float = Field(default=1.0, description="Factor of every pixel value.")
    mean: Numbers = Field(
        default=(), description="Subtracted after scaling: one, or one a channel."
    )
    std: Numbers = Field(default=(), description="Divisor after the mean: one, or one a channel.")
    scaled: bool = Field(default=False, description="Scale by `scale_min` and `scale_max`.")
    scale_min: float = Field(default=600, ge=1, description="Wanted length of the shorter side.")
    scale_max: float = Field(default=1000, ge=1, description="Bound of the longer side.")
    keep_orig: bool = Field(default=False, description="Keep the original beside the resized one.")
    bbox: bool = Field(default=False, description="Lists name a file of boxes for each image.")
    segmentation: bool = Field(default=False, description="Lists name a mask for each image.")
    ctc: bool = Field(default=False, description="Lists say what each image reads.")
    multi_label: bool = Field(default=False, description="List files name several classes a line.")
    root_folder: str = Field(default="", description="Folder that relative paths start from.")
    test_split: float = Field(default=0.0, ge=0, lt=1, description="Part held out for testing.")
    shuffle: bool = Field(default=False, description="Shuffle the training set before splitting.")
    seed: int = Field(default=-1, description="Seed of the shuffle; -1 is a random one.")
    db: bool = Field(default=False, description="Keep the samples of a training on disk.")
    db_width: int = Field(default=0, ge=0, description="Width of kept images with boxes; 0: width.")
    db_height: int = Field(
        default=0, ge=0, description="Height of kept images with boxes; 0: height."
    )
    align: bool = Field(
        default=False,
        description="For ctc: keep the aspect at the given height, fill up to one width on the "
        "right; with a width of -1 that of the widest training image.",
    )

    @field_validator("scale", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("could not read double value for scale input parameter")
        return value

    @model_validator(mode="after")
    def _possible(self) -> ImageInput:
        for name, size in (("width", self.width), ("height", self.height)):
            if size != -1 and size < 1:
                raise ValueError(f"{name} must be -1 or at least 1")
        for name, crop, size in (
            ("width", self.crop_width, self.width),
            ("height", self.crop_height, self.height),
        ):
            if crop > size > 0:
                raise ValueError(f"Crop {name} must be less than or equal to {name}")
        if any(each <= 0 for each in self.std):
            raise ValueError("std must be above 0")
        if self.unchanged_data and (self.bw or self.histogram_equalization):
            raise ValueError("unchanged_data allows neither bw nor histogram_equalization")
        self._check_layouts()
        return self

    def _check_layouts(self) -> None:
        if bool(self.db_width) != bool(self.db_height):
            raise ValueError("db_width and db_height go together")
        if self.align and (self.bbox or self.segmentation):
            raise ValueError("align is for ctc, not for bbox or segmentation")
        if self.align and (self.height < 0 or self.limited):
            raise ValueError("align needs a height, and no scale_min or scale_max")

    def unknown(self, where: str) -> list[str]:
        """Also warns of options that have no effect beside the others."""
        warnings = super().unknown(where)
        if self.interp not in INTERPOLATIONS:
            warnings.append(f"{where}.interp {self.interp[:40]!r} is unknown, cubic is used")
        if self.aspect_ratio_pad and (self.limited or (self.width < 0) == (self.height < 0)):
            warnings.append(f"{where}.aspect_ratio_pad needs exactly one size of -1")
        if self.db_width and not (self.db and self.bbox):
            warnings.append(f"{where}.db_width and db_height act with db and bbox only")
        return warnings

    @property
    def limited(self) -> bool:
        """Sizes follow `scale_min` and `scale_max` (D-24): one of the three was given."""
        return self.scaled or bool({"scale_min", "scale_max"} & self.model_fields_set)
