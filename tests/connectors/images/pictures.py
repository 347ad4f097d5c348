"""Real pictures in every format, and the ways in which a request brings them to the connector."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage
from PIL import Image
from sklearn.datasets import load_sample_images

from ddstream.api.parameters import merged
from ddstream.connectors.images.connector import ImageConnector
from ddstream.connectors.protocol import Limits
from ddstream.data import Array, Datum, Sample
from ddstream.repository import Repository

SHIPPED = Path(skimage.__file__).parent / "data"
"""Real images that come with scikit-image."""


def photo(height: int = 120, width: int = 160) -> Array:
    """A colour photograph, RGB."""
    return cv2.resize(_china(), (width, height), interpolation=cv2.INTER_AREA)


@cache
def _china() -> Array:
    picture: Array = load_sample_images().images[0]
    return picture


def grey_photo() -> Array:
    """A grey photograph of 512 x 512."""
    return np.asarray(Image.open(SHIPPED / "camera.png"))


def encoded(pixels: Array, suffix: str = ".png", *options: int) -> bytes:
    """The file of RGB or grey pixels."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(suffix, pixels, options)
    assert done
    return content.tobytes()


def pillow(pixels: Array, kind: str, **options: Any) -> bytes:
    """The file that Pillow writes: kinds that OpenCV does not."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def several_frames(kind: str) -> bytes:
    """A file of three frames."""
    frames = [Image.fromarray(np.roll(photo(), shift, axis=1)) for shift in (0, 40, 80)]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def connector(max_pixels: int = 100_000_000, **raw: Any) -> ImageConnector:
    """A connector with these `parameters.input`."""
    return ImageConnector(raw, Repository(Path()), Limits(max_pixels=max_pixels))


def read_one(content: bytes | str | Path | Array, **raw: Any) -> Sample:
    """The one sample of a datum."""
    (sample,) = connector(**raw).read(Datum("0", content))
    return sample


def pixels_of(content: bytes | str | Path | Array, **raw: Any) -> Array:
    """The pixels of the one sample of a datum."""
    return read_one(content, **raw).inputs["image"]


Stage = Callable[[Path, bytes, Mapping[str, Any]], Sample]


def at_services(folder: Path, content: bytes, raw: Mapping[str, Any]) -> Sample:
    """Read where the options were given when the service was made, and nothing at the call."""
    return read_one(content, **merged(raw, {}))


def at_predict(folder: Path, content: bytes, raw: Mapping[str, Any]) -> Sample:
    """Read where the call gives the options, over the service's."""
    service = {"width": 33, "height": 35, "bw": False, "rgb": True, "mean": 9}
    return read_one(content, **merged(service, raw))


def at_train(folder: Path, content: bytes, raw: Mapping[str, Any]) -> Sample:
    """Read as a training set's sample."""
    image = folder / "set" / "only" / "image"
    image.parent.mkdir(parents=True)
    image.write_bytes(content)
    made = connector(**raw).datasets([folder / "set", folder / "set"], {})
    for_training = made.train.read(0, np.random.default_rng(0))
    for_test = made.tests[0].read(0, None)
    assert np.array_equal(for_training.inputs["image"], for_test.inputs["image"])
    assert for_training.normalise == for_test.normalise
    return for_training
