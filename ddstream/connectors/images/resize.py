"""Resizing: the size that an image gets, and the way there (contract 3.2.1)."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from ddstream.api.image import ImageInput
from ddstream.data import Array, Dimensions

_METHODS: Final = {
    "cubic": cv2.INTER_CUBIC,
    "linear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
    "lanczos4": cv2.INTER_LANCZOS4,
    "area": cv2.INTER_AREA,
}


def resized(height: int, width: int, wanted: ImageInput) -> tuple[int, int]:
    """Height and width that an image of this size is resized to, before padding and cropping."""
    if wanted.align:
        natural = max(1, round(width * wanted.height / height))
        return wanted.height, min(natural, wanted.width) if wanted.width > 0 else natural
    if wanted.limited:
        longer, shorter = max(height, width), min(height, width)
        factor = min(wanted.scale_max / longer, wanted.scale_min / shorter)
    elif wanted.width > 0 and wanted.height > 0:
        return wanted.height, wanted.width
    elif wanted.width < 0 and wanted.height < 0:
        return height, width
    else:
        factor = max(wanted.width, wanted.height) / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def canvas(height: int, width: int, wanted: ImageInput) -> tuple[int, int]:
    """Height and width that a resized image of this size is filled up to with black."""
    if wanted.align and wanted.width > 0:
        return height, wanted.width
    side = _square(wanted)
    return (side, side) if side else (height, width)


def _square(wanted: ImageInput) -> int:
    """The side of the square that images are padded to; 0 if they are not."""
    one_is_free = (wanted.width < 0) != (wanted.height < 0)
    pads = wanted.aspect_ratio_pad and one_is_free and not wanted.limited and not wanted.align
    return max(wanted.width, wanted.height) if pads else 0


def final_size(wanted: ImageInput) -> tuple[int, int] | None:
    """Height and width of every sample; None where they follow the image."""
    if wanted.crop_width and wanted.crop_height:
        return wanted.crop_height, wanted.crop_width
    side = _square(wanted)
    height, width = (side, side) if side else (wanted.height, wanted.width)
    if wanted.limited or height < 0 or width < 0:
        return None
    return wanted.crop_height or height, wanted.crop_width or width


def sizes(wanted: ImageInput) -> Dimensions:
    """Channels and pixels of all samples; 0 where they follow the image."""
    height, width = final_size(wanted) or (0, 0)
    return Dimensions(channels=channels(wanted), height=height, width=width)


def channels(wanted: ImageInput) -> int:
    """How many channels samples have; 0 where they follow the image."""
    if wanted.unchanged_data:
        return 0
    return 1 if wanted.bw and not wanted.rgb else 3


def resize(image: Array, height: int, width: int, wanted: ImageInput) -> Array:
    """The image in another size; with `unchanged_data` no value is made that was not there."""
    if image.shape[:2] == (height, width):
        return image
    method = _METHODS.get(wanted.interp, cv2.INTER_CUBIC)
    if wanted.unchanged_data:
        method = cv2.INTER_NEAREST
    if not wanted.cuda:
        return cv2.resize(image, (width, height), interpolation=method)
    device = cv2.cuda.GpuMat()
    device.upload(image)
    # Only builds with CUDA have it, and the type stubs are of one without.
    on_device = cv2.cuda.resize(device, (width, height), interpolation=method)  # type: ignore[attr-defined]
    return np.asarray(on_device.download())


def equalise(image: Array, *, rgb: bool) -> Array:
    """Histogram equalisation of a grey uint8 image, or of the luminance of a colour one."""
    if image.ndim == 2:
        return cv2.equalizeHist(image)
    luminance = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb if rgb else cv2.COLOR_BGR2YCrCb)
    cv2.insertChannel(cv2.equalizeHist(cv2.extractChannel(luminance, 0)), luminance, 0)
    return cv2.cvtColor(luminance, cv2.COLOR_YCrCb2RGB if rgb else cv2.COLOR_YCrCb2BGR)
