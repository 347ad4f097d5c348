"""Segmentation: a class for each pixel of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.measures import segmentation
from ddstream.measures.segmentation import Segmented
from ddstream.tasks.classification import softmax
from ddstream.tasks.detection import SHOWN
from ddstream.tasks.protocol import UNKNOWN, Rows, Tally, Traits

CLASSES, CONFIDENCES = "classes", "confidences"
"""Outputs beside the logits: each pixel's most probable class, and how probable it is."""
BEST, ALL = "best", "all"
"""Maps of `output.confidences` that are no class's."""


@dataclass(frozen=True, slots=True)
class Row:
    """The map of one image at the size of the sample: class ids and probabilities h x w.

    `logits` C x h x w are there where the call wants the probabilities of single classes.
    """

    classes: Array
    confidences: Array
    logits: Array | None = None


class Segmentation:
    """Reads the most probable class of each pixel, put back on the original image (2.7)."""

    name = "segmentation"
    measures: Sequence[str] = ("acc",)

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._nclasses = traits.nclasses
        self._names = traits.classes

    def activate(self, outputs: Outputs) -> list[Row]:
        """The map of each image."""
        logits = outputs.get(OUTPUT)
        pairs = zip(outputs[CLASSES], outputs[CONFIDENCES], strict=True)
        return [
            Row(classes, confidences, None if logits is None else logits[i])
            for i, (classes, confidences) in enumerate(pairs)
        ]

    def decode(self, row: Row, sample: Sample, output: OutputParameters) -> Json:
        """`vals`, class ids of the original's pixels row by row, and the maps of `confidences`.

        A class that is not above the threshold gives way to class 0, the background; so does what
        the model has not seen of an image that was cropped, with a confidence of 0.
        """
        classes, bound = row.classes, output.confidence_threshold
        if bound > 0:
            classes = np.where(row.confidences > bound, classes, 0)
        place = Place.of(sample, classes.shape)
        prediction: Json = {
            "uri": sample.uri,
            "loss": 0.0,
            "classes": [],
            "vals": place.nearest(classes).astype(np.float32).ravel(),
            "imgsize": {"height": place.height, "width": place.width},
        }
        if output.confidences:
            maps = _maps(row, output.confidences)
            placed = {name: place.between(each).ravel() for name, each in maps.items()}
            prediction["confidences"] = placed
        return prediction

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of maps against masks."""
        return _Maps(measures, self._nclasses, self._names)

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return segmentation.knows(measure)


class _Maps:
    """A tally of maps and masks, both of the size of the sample."""

    def __init__(self, measures: Sequence[str], nclasses: int, names: Sequence[str]) -> None:
        self._measures = measures
        wanted = segmentation.keeps_regions(measures)
        self._segmented = Segmented(nclasses, names, wanted=wanted)

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch. Raises InputError for a sample without a mask."""
        for row, sample in zip(rows, samples, strict=True):
            mask = sample.target
            if not isinstance(mask, np.ndarray) or mask.ndim != 2:
                raise InputError(f"{sample.uri} has no mask")
            if mask.shape != row.classes.shape:
                raise InputError(f"{sample.uri}: the mask and the model's map differ in size")
            self._segmented.add(row.classes, mask)

    def result(self) -> Mapping[str, Any]:
        """The measures of all that was added."""
        return segmentation.compute(self._measures, self._segmented)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pixels of an original image lie on a map: a row and a column each, as numbers.

    Pixel i of a map is from i to i + 1; what lies beyond its ends was not seen by the model.
    """

    rows: Array
    columns: Array
    shape: tuple[int, int]

    @classmethod
    def of(cls, sample: Sample, shape: Sequence[int]) -> Self:
        """That of a sample whose map has this shape, h x w."""
        mapped = (shape[0], shape[1])
        height, width = sample.meta.get("size", mapped)
        left, top, right, bottom = sample.meta.get(SHOWN, (0, 0, width, height))
        rows = (np.arange(height) + 0.5 - top) * (mapped[0] / (bottom - top))
        columns = (np.arange(width) + 0.5 - left) * (mapped[1] / (right - left))
        return cls(rows, columns, mapped)

    @property
    def height(self) -> int:
        """Rows of the original."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Columns of the original."""
        return len(self.columns)

    def nearest(self, values: Array) -> Array:
        """A map h x w as the original's pixels see it, H x W; 0 where it does not reach."""
        rows, columns = (
            np.clip(np.floor(at).astype(np.intp), 0, most - 1)
            for at, most in zip((self.rows, self.columns), self.shape, strict=True)
        )
        return self._seen(values[rows][:, columns])

    def between(self, values: Array) -> Array:
        """The same, each pixel between the four of the map that are nearest to it."""
        part = _mixed(values, self.rows, self.shape[0])
        return self._seen(_mixed(part.T, self.columns, self.shape[1]).T)

    def _seen(self, values: Array) -> Array:
        seen = [
            (at >= 0) & (at < most)
            for at, most in zip((self.rows, self.columns), self.shape, strict=True)
        ]
        if all(each.all() for each in seen):
            return np.ascontiguousarray(values)
        return np.where(seen[0][:, None] & seen[1], values, 0)


def _mixed(values: Array, at: Array, most: int) -> Array:
    """Rows of h x w between two each; the first and the last go on beyond the ends."""
    centre = np.clip(at - 0.5, 0, most - 1)
    first = np.floor(centre).astype(np.intp)
    second = np.minimum(first + 1, most - 1)
    share = (centre - first).astype(values.dtype)[:, None]
    mixed: Array = values[first] * (1 - share) + values[second] * share
    return mixed


def _maps(row: Row, wanted: Sequence[str]) -> dict[str, Array]:
    """The maps h x w of probabilities by their names. Raises ParameterError for unknown ones."""
    maps: dict[str, Array] = {}
    if BEST in wanted:
        maps[BEST] = row.confidences
    numbers = [each for each in wanted if each not in (BEST, ALL)]
    if not numbers and ALL not in wanted:
        return maps
    assert row.logits is not None
    count = len(row.logits)
    for name in numbers:
        if not name.isascii() or not name.isdigit() or int(name) >= count:
            raise ParameterError(
                f"parameters.output.confidences: {name[:40]} is neither {BEST}, {ALL} nor one of "
                f"the classes 0 to {count - 1}"
            )
    shares = np.moveaxis(softmax(np.moveaxis(row.logits, 0, -1)), -1, 0)
    each_class = range(count) if ALL in wanted else sorted({int(name) for name in numbers})
    return maps | {str(number): shares[number] for number in each_class}
