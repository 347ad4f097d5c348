"""Measures of a detector: average precision over a test set, as COCO defines it (decision 11.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ddstream.errors import ParameterError
from ddstream.measures.arrays import Array
from ddstream.measures.request import match

NAMES = ("map", "raw")
LOOSE = ("map",)
DEFAULT = 50
"""Percent of overlap from which on an object is found, where no request says it."""
RECALLS = np.linspace(0, 1, 101)
"""Where precision is read off the curve."""
SURE = 0.5
"""A wrong detection counts as a false positive if its score is above."""
NO_TRUTH, NOT_FOUND = "UNDEFINED_GT", "NO_DETECTION"
"""What `raw` says instead of a class."""

Results: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of an image: boxes K x 4 (xmin, ymin, xmax, ymax), labels K from 1 on, and, of
    detections, scores K."""

    boxes: Array
    labels: Array
    scores: Array = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(slots=True)
class _Class:
    """What is known of one class: its detections image by image, and how many truths it has."""

    scores: list[Array] = field(default_factory=list)
    right: list[Array] = field(default_factory=list)
    truths: int = 0


class Detected:
    """Adds up image after image; holds a score and a few bits a detection, no image."""

    def __init__(self, requests: Sequence[str], nclasses: int, names: Sequence[str] = ()) -> None:
        """Raises ParameterError for a threshold that is none."""
        self._percents = percents(requests)
        self._raw = any(_name(each) == "raw" for each in requests)
        self._wanted = any(_name(each) == "map" for each in requests)
        self._classes: dict[int, _Class] = {c: _Class() for c in range(1, nclasses + 1)}
        self._names = names
        self._lines: list[tuple[str, str, float]] = []

    def add(self, found: Objects, truth: Objects) -> None:
        """Take in one image: its detections, and what it has."""
        order = np.argsort(-found.scores, kind="stable")
        found = Objects(found.boxes[order], found.labels[order], found.scores[order])
        for label in np.union1d(found.labels, truth.labels).tolist():
            of_class, is_class = found.labels == label, truth.labels == label
            overlaps = overlap(found.boxes[of_class], truth.boxes[is_class])
            right = np.stack([matched(overlaps, percent / 100) >= 0 for percent in self._percents])
            each = self._classes.setdefault(label, _Class())
            each.scores.append(found.scores[of_class])
            each.right.append(right)
            each.truths += int(is_class.sum())
            if self._raw:
                self._tell(label, found.scores[of_class], right[0], int(is_class.sum()))

    def result(self) -> Results:
        """The measures (contract 4.6)."""
        found: Results = self._precisions() | self._false() if self._wanted else {}
        if self._raw:
            columns = zip(*self._lines, strict=True) if self._lines else ((), (), ())
            names = ("truths", "estimations", "confidences")
            found["raw"] = dict(zip(names, map(list, columns), strict=True))
        return found

    def _precisions(self) -> Results:
        """`map-XX` of each threshold, `map` of all, and the same of each class.

        Classes that the test set has not count for nothing in the means.
        """
        table = np.array([self._of_class(each) for each in self._classes.values()])
        present = [c for c, each in enumerate(self._classes.values()) if each.truths]
        table = table.reshape(len(self._classes), len(self._percents))
        means = table[present].mean(axis=0) if present else np.zeros(len(self._percents))
        found: Results = {"map": float(means.mean())}
        for row, label in enumerate(self._classes):
            found[f"map_{label}"] = float(table[row].mean())
        for column, percent in enumerate(self._percents):
            name = f"map-{percent:02}"
            found[name] = float(means[column])
            for row, label in enumerate(self._classes):
                found[f"{name}_{label}"] = float(table[row, column])
        return found

    def _of_class(self, each: _Class) -> list[float]:
        if not each.truths:
            return [0.0] * len(self._percents)
        scores = np.concatenate(each.scores)
        order = np.argsort(-scores, kind="stable")
        right = np.concatenate(each.right, axis=1)[:, order]
        return [average_precision(row, each.truths) for row in right]

    def _false(self) -> Results:
        """`fp_<c>`: false positives an object of the class, at the first threshold; their mean."""
        found: Results = {}
        for label, each in self._classes.items():
            wrong = sum(
                int((~right[0] & (scores > SURE)).sum())
                for scores, right in zip(each.scores, each.right, strict=True)
            )
            found[f"fp_{label}"] = wrong / max(1, each.truths)
        return {"fp": float(np.mean(list(found.values()))) if found else 0.0, **found}

    def _tell(self, label: int, scores: Array, right: Array, truths: int) -> None:
        name = self._names[label] if label < len(self._names) else str(label)
        for score, hit in zip(scores.tolist(), right.tolist(), strict=True):
            self._lines.append((name if hit else NO_TRUTH, name, score))
        missed = truths - int(right.sum())
        self._lines += [(name, NOT_FOUND, 1.0)] * missed


def knows(request: str) -> bool:
    """Whether a requested name is a measure of detectors."""
    return _name(request) is not None


def percents(requests: Sequence[str]) -> list[int]:
    """The overlaps that requests ask for, each once; the usual one if none is named.

    Raises ParameterError for a threshold that is no whole number from 1 to 99.

    >>> percents(["map-90", "map-50"]), percents(["map"]), percents(["map-05", "map"])
    ([90, 50], [50], [5])
    """
    found: list[int] = []
    for request in requests:
        wanted = match(request, NAMES, LOOSE)
        number = wanted.number if wanted is not None and wanted.name == "map" else None
        if number is None:
            continue
        if number != int(number) or not 1 <= number <= 99:
            raise ParameterError(
                f"measure {request[:40]}: behind the dash stands an overlap in percent, 1 to 99"
            )
        found += [] if int(number) in found else [int(number)]
    return found or [DEFAULT]


def overlap(boxes: Array, others: Array) -> Array:
    """Intersection over union of boxes K x 4 and others M x 4, each with each, K x M.

    >>> overlap(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 1], [2, 2, 3, 3]])).tolist()
    [[0.5, 0.0]]
    """
    boxes, others = boxes.reshape(-1, 1, 4).astype(float), others.reshape(1, -1, 4).astype(float)
    lower, upper = np.maximum(boxes, others)[..., :2], np.minimum(boxes, others)[..., 2:]
    shared = np.clip(upper - lower, 0, None).prod(axis=-1)
    sizes = [(each[..., 2:] - each[..., :2]).prod(axis=-1) for each in (boxes, others)]
    union = sizes[0] + sizes[1] - shared
    found: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def matched(overlaps: Array, threshold: float) -> Array:
    """For each detection, the best first, the object that it is, or -1 (K from K x M).

    It is the free object that it overlaps most, if that is at least the threshold.

    >>> matched(np.array([[0.6, 0.7], [0.5, 0.9], [0.2, 0.4]]), 0.5).tolist()
    [1, 0, -1]
    """
    taken = np.full(len(overlaps), -1)
    # Thresholds are decimal fractions: an overlap of just as much may be a hair below.
    able = overlaps >= threshold - 1e-10
    free = np.ones(overlaps.shape[1], bool)
    for row in np.flatnonzero(able.any(axis=1)):
        candidates = np.flatnonzero(able[row] & free)
        if len(candidates):
            best = candidates[np.argmax(overlaps[row, candidates])]
            taken[row], free[best] = best, False
    return taken


def average_precision(right: Array, truths: int) -> float:
    """The mean precision at 101 recalls; `right` tells of each detection, the best first, whether
    it is an object. The precision at a recall is the best one at that recall or a higher one.

    >>> average_precision(np.array([True, True]), 2), average_precision(np.array([False]), 1)
    (1.0, 0.0)
    """
    hits = np.cumsum(right)
    precisions = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precisions[::-1])[::-1]
    places = np.searchsorted(hits / truths, RECALLS, side="left")
    return float(np.append(best, 0.0)[np.minimum(places, len(right))].mean())


def _name(request: str) -> str | None:
    wanted = match(request, NAMES, LOOSE)
    return None if wanted is None else wanted.name
