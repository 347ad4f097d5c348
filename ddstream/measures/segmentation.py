"""Measures of segmentations (contract 4.5): maps of class ids H x W against such maps.

They are counted image by image, so that a test of any length takes the memory of its classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ddstream.errors import ParameterError
from ddstream.measures.arrays import Array
from ddstream.measures.request import match, matched

Results: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Region:
    """What became of a class's pixels in one image: what most of them were taken for, how many."""

    image: int
    true: int
    estimate: int
    share: float


@dataclass(slots=True)
class Segmented:
    """Sums over images, each class by itself; `labels` are class names by id.

    `nclasses` bounds the classes, 0 does not. `regions` are kept only where they are `wanted`: one
    for each class of each image.
    """

    nclasses: int = 0
    labels: Sequence[str] = ()
    wanted: bool = False
    images: int = 0
    right: float = 0.0
    """The sum of the images' shares of right pixels."""
    seen: Array = field(init=False)
    """How many images have each class."""
    accuracies: Array = field(init=False)
    overlaps: Array = field(init=False)
    """The sums of each class's share of right pixels, and of its intersection over union."""
    regions: list[Region] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen, self.accuracies, self.overlaps = np.zeros((3, self.nclasses))

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.seen)

    def add(self, estimates: Array, truth: Array) -> None:
        """Count an image. Raises ParameterError for a class of more than there are."""
        most = int(max(truth.max(), estimates.max())) + 1
        if self.nclasses and most > self.nclasses:
            raise ParameterError(
                f"target class has id {most - 1} is higher than the number of classes "
                f"{self.nclasses} (e.g. wrong number of classes specified with nclasses"
            )
        self._grow(max(most, self.classes))
        pairs = truth.astype(np.int64).ravel() * self.classes + estimates.ravel()
        confusion = np.bincount(pairs, minlength=self.classes**2)
        self._count(confusion.reshape(self.classes, self.classes))

    def name(self, index: int) -> str:
        """The name of a class."""
        return self.labels[index] if index < len(self.labels) else str(index)

    @property
    def names(self) -> list[str]:
        """The names of all classes."""
        return [self.name(index) for index in range(self.classes)]

    def _grow(self, classes: int) -> None:
        more = (0, classes - self.classes)
        self.seen, self.accuracies, self.overlaps = (
            np.pad(each, more) for each in (self.seen, self.accuracies, self.overlaps)
        )

    def _count(self, confusion: Array) -> None:
        """Take in how often class i (row) was taken for class j (column) in one image."""
        inside, true = np.diag(confusion), confusion.sum(axis=1)
        union = true + confusion.sum(axis=0) - inside
        self.right += float(inside.sum() / true.sum())
        self.seen += true > 0
        self.accuracies += inside / np.maximum(true, 1)
        self.overlaps += inside / np.maximum(union, 1)
        if self.wanted:
            shares = confusion / np.maximum(true, 1)[:, None]
            self.regions += [
                Region(self.images, c, int(shares[c].argmax()), float(shares[c].max()))
                for c in np.flatnonzero(true).tolist()
            ]
        self.images += 1


def pixel_accuracy(segmented: Segmented) -> float:
    """Mean over images of the share of pixels that have their class.

    >>> segmented = Segmented(2)
    >>> segmented.add(np.array([[0, 1]]), np.array([[0, 0]]))
    >>> pixel_accuracy(segmented)
    0.5
    """
    return segmented.right / segmented.images if segmented.images else float("nan")


def accuracies(segmented: Segmented) -> Array:
    """For each class, the mean over the images that have it of the share of its pixels that were
    found; NaN for a class that none has.

    >>> segmented = Segmented(3)
    >>> segmented.add(np.array([[0, 1, 1]]), np.array([[0, 0, 1]]))
    >>> accuracies(segmented).tolist()
    [0.5, 1.0, nan]
    """
    return _means(segmented.accuracies, segmented.seen)


def overlaps(segmented: Segmented) -> Array:
    """For each class, its intersection over union likewise.

    >>> segmented = Segmented(2)
    >>> segmented.add(np.array([[0, 1, 1]]), np.array([[0, 0, 1]]))
    >>> overlaps(segmented).tolist()
    [0.5, 0.5]
    """
    return _means(segmented.overlaps, segmented.seen)


def raw(segmented: Segmented) -> Results:
    """For each class of each image its name, what most of its pixels were taken for, and how large
    a share of them.

    >>> segmented = Segmented(2, ["sky", "sea"], wanted=True)
    >>> segmented.add(np.array([[0, 1]]), np.array([[1, 1]]))
    >>> raw(segmented)
    {'images': [0], 'truths': ['sea'], 'estimations': ['sky'], 'confidences': [0.5]}
    """
    regions = segmented.regions
    return {
        "images": [each.image for each in regions],
        "truths": [segmented.name(each.true) for each in regions],
        "estimations": [segmented.name(each.estimate) for each in regions],
        "confidences": [each.share for each in regions],
    }


def _means(sums: Array, counts: Array) -> Array:
    found: Array = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=found, where=counts > 0)
    return found


def _mean_of_seen(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _acc(segmented: Segmented) -> Results:
    each, shared = accuracies(segmented), overlaps(segmented)
    return {
        "acc": pixel_accuracy(segmented),
        "meanacc": _mean_of_seen(each),
        "meaniou": _mean_of_seen(shared),
        "clacc": each.tolist(),
        "cliou": shared.tolist(),
        "labels": segmented.names,
    }


def _raw(segmented: Segmented) -> Results:
    return {"raw": raw(segmented)}


def _part(*names: str) -> Callable[[Segmented], Results]:
    def found(segmented: Segmented) -> Results:
        every = _acc(segmented)
        return {name: every[name] for name in names}

    return found


MEASURES: Mapping[str, Callable[[Segmented], Results]] = {
    "acc": _acc,
    "meanacc": _part("meanacc"),
    "meaniou": _part("meaniou"),
    "clacc": _part("clacc", "labels"),
    "cliou": _part("cliou", "labels"),
    "raw": _raw,
}
LOOSE = ("acc",)


def knows(request: str) -> bool:
    """Whether a requested name is a measure of segmentations."""
    return match(request, list(MEASURES), LOOSE) is not None


def keeps_regions(requests: Sequence[str]) -> bool:
    """Whether one of the measures looks at single images."""
    return any(measure is _raw for _, measure, _ in matched(requests, MEASURES, LOOSE))


def compute(requests: Sequence[str], segmented: Segmented) -> Results:
    """The requested measures; names of other families are left out.

    >>> segmented = Segmented(2)
    >>> segmented.add(np.array([[0, 1]]), np.array([[0, 1]]))
    >>> compute(["meaniou"], segmented)
    {'meaniou': 1.0}
    """
    found: Results = {}
    for _, measure, _ in matched(requests, MEASURES, LOOSE):
        found |= measure(segmented)
    return found
