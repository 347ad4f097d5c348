"""Classification: one of the classes, or with `multi_label` any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample
from ddstream.measures import classification, multilabel
from ddstream.tasks.elements import ended, flat, ranked, vector

FULL_SORT = 64
"""Up to so many classes, sorting them all is cheaper than finding the best first."""


class Classification:
    """Reads logits as probabilities of classes: softmax, or a sigmoid each.

    A batch stays logits until a row is decoded, since `output.regression` asks for them.
    """

    name = "classification"

    def __init__(self, *, classes: Sequence[str] = (), multi_label: bool = False) -> None:
        self._classes = classes
        self._multi_label = multi_label
        self.measures: Sequence[str] = ("acc",) if multi_label else ("acc", "f1")

    def activate(self, outputs: Outputs) -> Array:
        """Logits N x C of a batch."""
        return flat(outputs[OUTPUT])

    def decode(self, scores: Array, sample: Sample, output: OutputParameters) -> Json:
        """The `best` classes above the threshold, the most probable first (contract 2.3)."""
        prediction: Json = {"uri": sample.uri, "loss": 0.0}
        if output.regression:
            return prediction | {"classes": [], "vector": vector(scores, self._classes)}
        probabilities = self._probabilities(scores)
        order = highest(probabilities, output.best)
        classes = [
            {"prob": prob, "cat": self._cat(index)}
            for index, prob in zip(order.tolist(), probabilities[order].tolist(), strict=True)
            if output.confidence_threshold <= 0 or prob > output.confidence_threshold
        ]
        return prediction | {"classes": ended(classes)}

    def score(
        self, scores: Array, targets: Sequence[Any], measures: Sequence[str]
    ) -> Mapping[str, Any]:
        """Measures of logits N x C against class ids, or against rows of labels."""
        probabilities = self._probabilities(scores)
        if self._multi_label:
            return multilabel.compute(measures, probabilities, np.stack(targets))
        ids = np.asarray(targets, np.int64)
        return classification.compute(measures, probabilities, ids, self._classes)

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return multilabel.knows(measure) if self._multi_label else classification.knows(measure)

    def _probabilities(self, logits: Array) -> Array:
        return sigmoid(logits) if self._multi_label else softmax(logits)

    def _cat(self, index: int) -> str:
        return self._classes[index] if index < len(self._classes) else str(index)


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
