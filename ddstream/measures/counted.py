"""Measures of classifiers by counts alone, for tests of more samples and classes than fit a matrix.

The formulas are those of `ddstream.measures.classification` (contract 4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ddstream.measures.arrays import Array
from ddstream.measures.classification import EPSILON, check_targets, whole
from ddstream.measures.request import match, matched

AT_ONCE = 64
"""Samples whose scores are looked at together: those of 50,000 classes are 25 MB in doubles."""
LOOSE = ("acc",)

Results: TypeAlias = dict[str, float]
Measure: TypeAlias = Callable[["Counts", float | None], Results]


@dataclass(slots=True)
class Counts:
    """What is counted of scored samples: its size follows the classes, not the samples.

    `ks` are the numbers of best classes among which the true one is looked for.
    """

    ks: Sequence[int] = (1,)
    samples: int = 0
    loss: float = 0.0
    """The sum of the negative logarithms of the true classes' probabilities."""
    hits: dict[int, int] = field(default_factory=dict)
    """How often the true class was among the k best, by k."""
    right: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    guessed: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    true: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    """How often each class was the best one and true, was the best one, was true."""

    def add(self, logits: Array, targets: Array) -> None:
        """Count samples of logits M x C and class ids M.

        Raises ParameterError for ids that are none.
        """
        check_targets(targets, logits.shape[1])
        for first in range(0, len(targets), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            self._add(logits[part].astype(np.float64), targets[part])

    def _add(self, logits: Array, targets: Array) -> None:
        classes = logits.shape[1]
        own = np.take_along_axis(logits, targets[:, None], axis=1)
        highest = logits.max(axis=1, keepdims=True)
        powers = np.exp(logits - highest).sum(axis=1, keepdims=True)
        self.loss += float((np.log(powers) + highest - own).sum())
        before = np.arange(classes) < targets[:, None]
        ranks = ((logits > own) | ((logits == own) & before)).sum(axis=1)
        known = ~np.isnan(own[:, 0])
        for k in self.ks:
            hits = int(((ranks < k) & known).sum()) if k <= classes else 0
            self.hits[k] = self.hits.get(k, 0) + hits
        guesses = logits.argmax(axis=1)
        self.samples += len(targets)
        self.right = _counted(self.right, targets[guesses == targets], classes)
        self.guessed = _counted(self.guessed, guesses, classes)
        self.true = _counted(self.true, targets, classes)


def _counted(before: Array, ids: Array, classes: int) -> Array:
    counts = np.bincount(ids, minlength=classes)
    return counts if not before.size else before + counts


def accuracy(counts: Counts, k: int = 1) -> float:
    """Share of samples whose class is among the `k` highest scores.

    >>> counts = Counts()
    >>> counts.add(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([0, 0]))
    >>> accuracy(counts)
    0.5
    """
    return counts.hits.get(k, 0) / counts.samples if counts.samples else float("nan")


def log_loss(counts: Counts) -> float:
    """Mean negative logarithm of the probability of the true class.

    >>> counts = Counts()
    >>> counts.add(np.zeros((1, 2)), np.array([0]))
    >>> round(log_loss(counts), 4)
    0.6931
    """
    return counts.loss / counts.samples if counts.samples else float("nan")


def f_scores(counts: Counts) -> Results:
    """Means over all classes of precision, recall and their harmonic mean, and the accuracy.

    >>> counts = Counts()
    >>> counts.add(np.eye(2)[[0, 1, 1]], np.array([0, 0, 1]))
    >>> {name: round(value, 3) for name, value in f_scores(counts).items()}
    {'f1': 0.667, 'recall': 0.75, 'precision': 0.75, 'accp': 0.667}
    """
    recalls = counts.right / (counts.true + EPSILON)
    precisions = counts.right / (counts.guessed + EPSILON)
    scores = 2 * precisions * recalls / (precisions + recalls + EPSILON)
    found = counts.samples > 0
    return {
        "f1": float(scores.mean()) if found else float("nan"),
        "recall": float(recalls.mean()) if found else float("nan"),
        "precision": float(precisions.mean()) if found else float("nan"),
        "accp": float(counts.right.sum() / counts.samples) if found else float("nan"),
    }


def matthews(counts: Counts) -> float:
    """Matthews correlation in Gorodkin's form (2004); 1 where it is undefined.

    >>> counts = Counts()
    >>> counts.add(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1]))
    >>> matthews(counts)
    1.0
    """
    right = float(counts.right.sum())
    guessed, true = counts.guessed.astype(np.float64), counts.true.astype(np.float64)
    total = float(counts.samples)
    covariance = right * total - guessed @ true
    spread = np.sqrt((total**2 - guessed @ guessed) * (total**2 - true @ true))
    return float(covariance / spread) if spread else 1.0


def _acc(counts: Counts, number: float | None) -> Results:
    if number is None:
        return {"acc": accuracy(counts)}
    k = whole(number)
    return {f"acc-{k}": accuracy(counts, k)}


MEASURES: Mapping[str, Measure] = {
    "acc": _acc,
    "f1": lambda counts, _: f_scores(counts),
    "mcll": lambda counts, _: {"mcll": log_loss(counts)},
    "mcc": lambda counts, _: {"mcc": matthews(counts)},
}


def knows(request: str) -> bool:
    """Whether a requested name is a measure that counts can give."""
    return match(request, list(MEASURES), LOOSE) is not None


def counting(requests: Sequence[str]) -> Counts:
    """New counts for these measures. Raises ParameterError for an impossible `acc-k`."""
    numbers = [
        number
        for _, measure, number in matched(requests, MEASURES, LOOSE)
        if measure is _acc and number is not None
    ]
    return Counts(sorted({1, *map(whole, numbers)}))


def compute(requests: Sequence[str], counts: Counts) -> Results:
    """The requested measures; names of other families are left out."""
    found: Results = {}
    for _, measure, number in matched(requests, MEASURES, LOOSE):
        found |= measure(counts, number)
    return found
