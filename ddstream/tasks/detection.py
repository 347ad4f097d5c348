"""Detection: objects in an image, each with its class, and its box where that is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import Array, Outputs, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.measures import detection
from ddstream.measures.detection import Detected, Objects
from ddstream.tasks.elements import ended, ranked
from ddstream.tasks.protocol import UNKNOWN, Rows, Tally, Traits

BOXES, LABELS, SCORES, LOGITS, FEATURES = "boxes", "labels", "scores", "logits", "features"
SHOWN = "shown"
"""In a sample's `meta`: what it shows of its original, (left, top, right, bottom) in the original's
pixels, outside of it where the sample is padded; all of it where nothing is said."""


@dataclass(frozen=True, slots=True)
class Row:
    """The detections of an image, the highest score first; boxes are in pixels of the sample."""

    boxes: Array
    labels: Array
    scores: Array
    logits: Array | None = None
    features: Array | None = None

    def __len__(self) -> int:
        return len(self.scores)


class Detection:
    """Reads boxes N x K x 4, labels and scores N x K; a score below 0 fills up (contract 2.6)."""

    name = "detection"
    measures: Sequence[str] = ("map",)

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._classes = traits.classes
        self._nclasses = traits.nclasses

    def activate(self, outputs: Outputs) -> list[Row]:
        """The detections of each image."""
        return [_row(outputs, image) for image in range(len(outputs[SCORES]))]

    def decode(self, row: Row, sample: Sample, output: OutputParameters) -> Json:
        """Objects above the threshold, `best_bbox` of them at most, the most probable first.

        With `rois` they are `rois` with their features as `vals`, and always have their boxes; with
        `multibox_rois` the image has `vals` too, the mean of its objects' features.
        """
        boxes = original(row.boxes, sample)
        kept = self._kept(row, boxes, output)
        elements = [self._element(row, boxes, index, output) for index in kept]
        prediction: Json = {"uri": sample.uri, "loss": 0.0}
        if not output.rois:
            return prediction | {"classes": ended(elements)}
        features = _given(row.features, "rois")[kept].astype(np.float64)
        for element, values in zip(elements, features.tolist(), strict=True):
            element["vals"] = values
        prediction |= {"classes": [], "rois": ended(elements)}
        if output.multibox_rois:
            prediction["vals"] = features.mean(axis=0).tolist() if kept else []
        return prediction

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of detections against boxes and labels."""
        return _Boxes(Detected(measures, self._nclasses, self._classes))

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return detection.knows(measure)

    def _kept(self, row: Row, boxes: Array, output: OutputParameters) -> list[int]:
        """Which detections are answered; of one and the same box, `best` classes at most."""
        bound, classes_a_box = output.confidence_threshold, Counter[tuple[float, ...]]()
        kept: list[int] = []
        for index in ranked(row.scores).tolist():
            if 0 < output.best_bbox <= len(kept) or (bound > 0 and row.scores[index] <= bound):
                break
            box = tuple(boxes[index].tolist())
            if output.best < 0 or classes_a_box[box] < output.best:
                classes_a_box[box] += 1
                kept.append(index)
        return kept

    def _element(self, row: Row, boxes: Array, index: int, output: OutputParameters) -> Json:
        element: Json = {}
        if output.bbox or output.rois:
            corners = ("xmin", "ymin", "xmax", "ymax")
            element["bbox"] = dict(zip(corners, boxes[index].tolist(), strict=True))
        label = int(row.labels[index])
        element |= {"prob": float(row.scores[index]), "cat": self._cat(label)}
        if output.logits:
            element[LOGITS] = _given(row.logits, "logits")[index].astype(np.float64).tolist()
        return element

    def _cat(self, label: int) -> str:
        return self._classes[label] if 0 <= label < len(self._classes) else str(label)


class _Boxes:
    """A tally of detections and of what the samples have."""

    def __init__(self, detected: Detected) -> None:
        self._detected = detected

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch. Raises InputError for a sample without boxes."""
        for row, sample in zip(rows, samples, strict=True):
            target = sample.target
            if not isinstance(target, Mapping) or BOXES not in target:
                raise InputError(f"{sample.uri} has no boxes")
            truth = Objects(target[BOXES], target[LABELS])
            self._detected.add(Objects(row.boxes, row.labels, row.scores), truth)

    def result(self) -> Mapping[str, Any]:
        """The measures of all that was added."""
        return self._detected.result()


def original(boxes: Array, sample: Sample) -> Array:
    """Boxes K x 4 of a sample in pixels of its original image, inside of it (contract 2.6).

    Along a side that was resized, the sample's ends are the first and the last pixel.
    """
    height, width = sample.inputs["image"].shape[:2]
    rows, columns = sample.meta.get("size", (height, width))
    left, top, right, bottom = sample.meta.get(SHOWN, (0, 0, columns, rows))
    scale = np.array([(right - left) / width, (bottom - top) / height])
    last = np.array([columns, rows]) - 1
    # Coordinates of pixels, not of the lines between them.
    ends = np.where(scale == 1, 1, last / (last + 1))
    placed = (boxes.reshape(-1, 2, 2) * scale + (left, top)) * ends
    found: Array = np.clip(placed, 0, last).reshape(-1, 4)
    return found


def _row(outputs: Outputs, image: int) -> Row:
    real = outputs[SCORES][image] >= 0
    beside = {
        name: outputs[name][image][real] if name in outputs else None for name in (LOGITS, FEATURES)
    }
    boxes, labels, scores = (outputs[name][image][real] for name in (BOXES, LABELS, SCORES))
    return Row(boxes, labels, scores, beside[LOGITS], beside[FEATURES])


def _given(values: Array | None, option: str) -> Array:
    if values is None:
        raise ParameterError(f"parameters.output.{option}: the model does not give any")
    return values
