"""Classification: one of the classes, or with `multi_label` any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import LOGITS, OUTPUT, Array, Outputs, Sample, Target
from ddstream.measures import classification, multilabel
from ddstream.tasks.elements import ended, flat, ranked, vector
from ddstream.tasks.gathered import Gathered
from ddstream.tasks.protocol import UNKNOWN, Rows, Tally, Traits

FULL_SORT = 64
"""Up to so many classes, sorting them all is cheaper than finding the best first."""


class Classification:
    """Reads logits as probabilities of classes: softmax, or a sigmoid each.

    A batch stays logits until a row is decoded, since `output.regression` asks for them.
    """

    name = "classification"

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._classes = traits.classes
        self._multi_label = traits.multi_label
        self.measures: Sequence[str] = ("acc",) if traits.multi_label else ("acc", "f1")

    def activate(self, outputs: Outputs) -> Rows:
        """Logits N x C of a batch, each with the row of the layer that `logits_blob` names."""
        rows = flat(outputs[OUTPUT])
        if LOGITS not in outputs:
            return rows
        return [Explained(*each) for each in zip(rows, flat(outputs[LOGITS]), strict=True)]

    def decode(self, row: Array | Explained, sample: Sample, output: OutputParameters) -> Json:
        """The `best` classes above the threshold, the most probable first (contract 2.3)."""
        prediction: Json = {"uri": sample.uri, "loss": 0.0}
        if isinstance(row, Explained):
            logits = row.blob.astype(np.float64).tolist()
            return {**self.decode(row.scores, sample, output), LOGITS: logits}
        if output.regression:
            return prediction | {"classes": [], "vector": vector(row, self._classes)}
        classes = best_classes(self._probabilities(row), self._classes, output)
        return prediction | {"classes": ended(classes)}

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of logits N x C against class ids, or against rows of labels."""
        return Gathered(lambda rows, targets: self._measure(rows, targets, measures), plain)

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return multilabel.knows(measure) if self._multi_label else classification.knows(measure)

    def _measure(
        self, logits: Array, targets: Sequence[Target], measures: Sequence[str]
    ) -> Mapping[str, Any]:
        probabilities = self._probabilities(logits)
        if not self._multi_label:
            ids = np.asarray(targets, np.int64)
            return classification.compute(measures, probabilities, ids, self._classes)
        # A lone class is one label that is a yes.
        hot = np.eye(logits.shape[1], dtype=np.float32)
        rows = [hot[each] if isinstance(each, int) else np.asarray(each) for each in targets]
        return multilabel.compute(measures, probabilities, np.stack(rows))

    def _probabilities(self, logits: Array) -> Array:
        return sigmoid(logits) if self._multi_label else softmax(logits)


@dataclass(frozen=True, slots=True)
class Explained:
    """The scores of a sample, and the raw ones that are answered beside its classes."""

    scores: Array
    blob: Array


def plain(rows: Rows) -> Array:
    """The scores of a batch alone, which measures compare."""
    if isinstance(rows, np.ndarray):
        return rows
    return np.asarray([row.scores if isinstance(row, Explained) else row for row in rows])


def best_classes(
    probabilities: Array, names: Sequence[str], output: OutputParameters
) -> list[Json]:
    """The `best` classes above the threshold, the most probable first, by name or number."""
    order = highest(probabilities, output.best)
    return [
        {"prob": prob, "cat": names[index] if index < len(names) else str(index)}
        for index, prob in zip(order.tolist(), probabilities[order].tolist(), strict=True)
        if output.confidence_threshold <= 0 or prob > output.confidence_threshold
    ]


def softmax(logits: Array) -> Array:
    """Shares of the last axis that add up to one."""
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: Array) -> Array:
    """Each value between 0 and 1 by itself."""
    with np.errstate(over="ignore"):
        each: Array = 1 / (1 + np.exp(-logits))
    return each


def highest(scores: Array, best: int) -> Array:
    """Indices of the `best` highest scores (all if -1), highest first, equal ones by index."""
    if best < 0 or best >= len(scores) or len(scores) <= FULL_SORT:
        return ranked(scores)[: best if best >= 0 else None]
    if best == 0:
        return np.empty(0, np.intp)
    bound = -np.partition(-scores, best - 1)[best - 1]
    # All that reach the bound, in the order of their indices, so that ties keep it.
    candidates = np.flatnonzero(~(scores < bound))
    found: Array = candidates[ranked(scores[candidates])][:best]
    return found
