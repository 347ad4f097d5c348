"""The image connector: files, folders, base64, bytes and arrays become samples of pixels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ddstream.api.image import ImageInput
from ddstream.api.parameters import present
from ddstream.connectors.images.alignment import remembered
from ddstream.connectors.images.decode import (
    Decoding,
    check_area,
    decode,
    from_array,
    unbase64,
    unreadable,
)
from ddstream.connectors.images.fit import Fit
from ddstream.connectors.images.headers import read_header
from ddstream.connectors.images.resize import channels, equalise, sizes
from ddstream.connectors.images.sets import image_datasets, labelled_images
from ddstream.connectors.images.source import Source
from ddstream.connectors.locate import LONGEST_PATH, files_below, locate
from ddstream.connectors.protocol import Limits
from ddstream.data import Array, Datasets, Datum, Dimensions, Normalise, Sample
from ddstream.errors import InputError, severity
from ddstream.repository import Repository
from ddstream.roots import NotAFile, OutsideRoots, TooLong

_UNLIMITED = Limits()
_PIXEL_BYTES = 16
"""More than any format needs for a pixel: a longer file cannot be an image that may be read."""
_NO_PATH = re.compile(r"(file|data):|[^\0]*\0")
"""Strings that are no relative path."""


class ImageConnector:
    """Reads images with fixed parameters; pixels stay integers, H x W x C.

    Channels are BGR, RGB with `rgb`, one with `bw` alone. What the training of the repository has
    learned of their alignment counts, unless `fresh`.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        repository: Repository,
        limits: Limits = _UNLIMITED,
        *,
        fresh: bool = False,
    ) -> None:
        self._raw = present(raw)
        known = self._raw if fresh else remembered(self._raw, repository)
        self._parameters = ImageInput.parse(known, "parameters.input", InputError)
        self._repository = repository
        self._limits = limits
        self._normalise = Normalise(
            self._parameters.scale, self._parameters.mean, self._parameters.std
        )
        self._decoding = Decoding(
            rgb=self._parameters.rgb,
            bw=self._parameters.bw,
            unchanged=self._parameters.unchanged_data,
            max_pixels=limits.max_pixels,
        )
        if not self._parameters.unchanged_data:
            self._check_channels(channels(self._parameters))
        if self._parameters.cuda and not cv2.cuda.getCudaEnabledDeviceCount():
            raise InputError("parameters.input.cuda is not supported: OpenCV sees no CUDA device")

    @property
    def parameters(self) -> ImageInput:
        """The typed `parameters.input`."""
        return self._parameters

    def describe(self) -> Mapping[str, Any]:
        """Width and height of the samples; -1 where they follow the image."""
        wanted = self._parameters
        return {
            "width": wanted.crop_width or wanted.width,
            "height": wanted.crop_height or wanted.height,
        }

    def dimensions(self) -> Dimensions:
        """Channels and pixels of the samples; 0 where they follow the image."""
        return sizes(self._parameters)

    def read(self, datum: Datum) -> Iterable[Sample]:
        """The sample of one image; of a folder, one of each file below it, in sorted order.

        `meta` has `size`, height and width of the original, `shown`, the part of it that the sample
        shows (left, top, right, bottom in its pixels), and with `keep_orig` `original`, its
        pixels as a Datum may hold them (H x W, RGB or RGBA).
        """
        content = datum.content
        if isinstance(content, bytes):
            return (self._of_bytes(content, datum.uri),)
        if isinstance(content, np.ndarray):
            pixels = from_array(content, datum.uri, self._decoding)
            return (self._sample(pixels, datum.uri),)
        found = self._found(datum.uri, content)
        if isinstance(found, str):
            return (self._of_bytes(_encoded(found, datum.uri), datum.uri),)
        uri = content if isinstance(content, str) else datum.uri
        return self._folder(found, uri) if found.is_dir() else (self.read_file(uri, found),)

    def read_file(self, uri: str, path: Path) -> Sample:
        """The sample of one file. Raises InputError with the uri."""
        limits = self._limits
        try:
            content = limits.roots.content(path, _PIXEL_BYTES * limits.max_pixels)
        except OSError as error:
            raise unreadable(uri).graded(severity(error)) from error
        except (NotAFile, OutsideRoots) as error:
            raise unreadable(uri) from error
        except TooLong as error:
            raise unreadable(uri, "the file is too long for DDSTREAM_MAX_PIXELS") from error
        return self._of_bytes(content, uri)

    def labelled(self, datum: Datum, mllib: Mapping[str, Any]) -> Iterable[Sample]:
        """The samples of a list file, or of a folder with a folder a class, with their targets.

        Raises InputError for other data, and for what is wrong with a list.
        """
        content = datum.content
        found = self._found(datum.uri, content) if isinstance(content, str | Path) else None
        if not isinstance(found, Path):
            raise InputError(f"{datum.uri[:200]} has no labels: a folder or a list is expected")
        return labelled_images(self._source(), found, mllib)

    def datasets(self, data: Sequence[Path], augment: Mapping[str, Any]) -> Datasets:
        """Training and test sets, as `ddstream.connectors.images.sets` says."""
        resumed = augment.get("resume") is True
        source = self._source() if resumed else self._changed({})
        return image_datasets(source, data, augment)

    def _source(self) -> Source:
        return Source(
            self._parameters, self._repository, self._limits, self.read_file, self._changed
        )

    def _changed(self, over: Mapping[str, Any]) -> Source:
        raw = {**self._raw, **over}
        return ImageConnector(raw, self._repository, self._limits, fresh=True)._source()

    def _found(self, uri: str, content: str | Path) -> str | Path:
        """The content, or the file or folder of this name below `root_folder`."""
        root, text = self._parameters.root_folder, content if isinstance(content, str) else uri
        if not root or len(text) > LONGEST_PATH or os.path.isabs(text) or _NO_PATH.match(text):
            return content
        return locate(text, [root], self._limits.roots) or content

    def _folder(self, folder: Path, uri: str) -> Iterator[Sample]:
        name = str(folder) if uri.startswith("file:") else uri
        empty = True
        for path in files_below(folder):
            empty = False
            real = locate(path, (), self._limits.roots)
            yield self.read_file(os.path.join(name, path.relative_to(folder)), real or path)
        if empty:
            raise InputError(f"no image could be found: {uri[:200]}")

    def _of_bytes(self, content: bytes, uri: str) -> Sample:
        return self._sample(decode(content, uri, self._decoding), uri)

    def _sample(self, pixels: Array, uri: str) -> Sample:
        wanted = self._parameters
        fit = Fit.of(pixels.shape[0], pixels.shape[1], wanted)
        meta: dict[str, Any] = {"size": pixels.shape[:2], "shown": fit.shown}
        if wanted.keep_orig:
            meta["original"] = _as_datum(pixels, rgb=wanted.rgb)
        check_area(*fit.canvas, uri, self._limits.max_pixels)
        image = fit.image(pixels, wanted)
        if wanted.histogram_equalization:
            image = equalise(image, rgb=wanted.rgb)
        if wanted.bw and wanted.rgb:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        if image.ndim == 2:
            image = image[..., np.newaxis]
        if wanted.unchanged_data:
            self._check_channels(image.shape[2])
        inputs = {"image": np.ascontiguousarray(image)}
        return Sample(uri, inputs, normalise=self._normalise, meta=meta)

    def _check_channels(self, channels: int) -> None:
        for name, values in (("mean", self._parameters.mean), ("std", self._parameters.std)):
            if len(values) not in (0, 1, channels):
                raise InputError(f"{name} vector be of size the number of channels ({channels})")


def _encoded(text: str, uri: str) -> bytes:
    """The image that a base64 text holds; a short text that holds none may have been a path."""
    named = text if len(text) <= LONGEST_PATH else uri
    content = unbase64(text, named)
    if read_header(content) is None:
        raise unreadable(named)
    return content


def _as_datum(pixels: Array, *, rgb: bool) -> Array:
    """Pixels in the order of colours that arrays have in a Datum."""
    if rgb or pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
