"""Measures of a classifier (contract 4.3): probabilities N x C against class ids N."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from ddstream.errors import ParameterError
from ddstream.measures.arrays import Array
from ddstream.measures.ranking import area_under_curve, normalised_gini
from ddstream.measures.request import match, matched

EPSILON = 1e-8
"""Keeps a class without samples at zero instead of undefined."""
MOST_PAIRED = 10_000
"""Classes whose pairs fit into memory."""


@dataclass(frozen=True)
class Classified:
    """Scored samples of a test set; `labels` are class names by id, missing ones are numbers."""

    scores: Array
    targets: Array
    labels: Sequence[str] = ()

    @property
    def count(self) -> int:
        """Number of classes."""
        return int(self.scores.shape[1])

    @cached_property
    def estimates(self) -> Array:
        """The class of the highest score of each sample."""
        highest: Array = np.argmax(self.scores, axis=1)
        return highest

    @cached_property
    def confusion(self) -> Array:
        """How often class j (column) was taken for class i (row).

        Raises ParameterError for more classes than a matrix can have.
        """
        if self.count > MOST_PAIRED:
            raise ParameterError(f"measure cmfull: {self.count} classes are too many for a matrix")
        pairs = self.estimates * self.count + self.targets
        return np.bincount(pairs, minlength=self.count**2).reshape(self.count, self.count)

    @cached_property
    def hits(self) -> Array:
        """How many samples of each class were found."""
        return np.bincount(self.targets[self.targets == self.estimates], minlength=self.count)

    @cached_property
    def true(self) -> Array:
        """How many samples each class has."""
        return np.bincount(self.targets, minlength=self.count)

    @cached_property
    def guessed(self) -> Array:
        """How many samples were taken for each class."""
        return np.bincount(self.estimates, minlength=self.count)

    @cached_property
    def recalls(self) -> Array:
        """Of each class, the share that was found."""
        found: Array = self.hits / (self.true + EPSILON)
        return found

    @cached_property
    def precisions(self) -> Array:
        """Of what was taken for each class, the share that was right."""
        right: Array = self.hits / (self.guessed + EPSILON)
        return right

    def name(self, index: int) -> str:
        """The name of a class."""
        return self.labels[index] if index < len(self.labels) else str(index)

    @property
    def names(self) -> list[str]:
        """The names of all classes."""
        return [self.name(index) for index in range(self.count)]


Results: TypeAlias = dict[str, Any]
Measure: TypeAlias = Callable[[Classified, float | None], Results]


def accuracy(tested: Classified, k: int = 1) -> float:
    """Share of samples whose class is among the `k` highest scores; equal scores rank by id.

    Samples of fewer than `k` classes count as wrong.

    >>> tested = Classified(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([0, 1]))
    >>> accuracy(tested), accuracy(tested, 2)
    (0.5, 1.0)
    """
    if tested.count < k:
        return 0.0
    own = np.take_along_axis(tested.scores, tested.targets[:, None], axis=1)
    before = np.arange(tested.count) < tested.targets[:, None]
    rank = ((tested.scores > own) | ((tested.scores == own) & before)).sum(axis=1)
    return float(np.mean((rank < k) & ~np.isnan(own[:, 0])))


def f_scores(tested: Classified) -> Array:
    """The harmonic mean of precision and recall of each class.

    >>> f_scores(Classified(np.eye(2)[[0, 1, 1]], np.array([0, 0, 1]))).round(3).tolist()
    [0.667, 0.667]
    """
    precisions, recalls = tested.precisions, tested.recalls
    scores: Array = 2 * precisions * recalls / (precisions + recalls + EPSILON)
    return scores


def log_loss(tested: Classified) -> float:
    """Mean negative logarithm of the probability of the true class; infinite for a sure error.

    >>> round(log_loss(Classified(np.array([[0.5, 0.5]]), np.array([0]))), 4)
    0.6931
    """
    own = np.take_along_axis(tested.scores.astype(np.float64), tested.targets[:, None], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(-np.mean(np.log(own)))


def auc(tested: Classified) -> float:
    """Area under the ROC curve of class 1; of more than two classes, the mean of each against
    the others (those that the test set has, and not alone).

    >>> auc(Classified(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])))
    1.0
    """
    if tested.count == 2:
        return area_under_curve(tested.scores[:, 1], tested.targets == 1)
    present = np.unique(tested.targets)
    if len(present) < 2:
        return 1.0
    areas = [area_under_curve(tested.scores[:, c], tested.targets == c) for c in present]
    return float(np.mean(areas))


def matthews(tested: Classified) -> float:
    """Matthews correlation of classes and estimates; 1 where it is undefined (contract 4.3).

    For more than two classes in Gorodkin's form (2004), which is the same for two.

    >>> matthews(Classified(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1])))
    1.0
    """
    guessed, true = tested.guessed.astype(np.float64), tested.true.astype(np.float64)
    total = true.sum()
    covariance = tested.hits.sum() * total - guessed @ true
    spread = np.sqrt((total**2 - guessed @ guessed) * (total**2 - true @ true))
    return float(covariance / spread) if spread else 1.0


def gini(tested: Classified) -> float:
    """Normalised Gini of the expected class id against the true one; two classes: 2 auc - 1.

    >>> round(gini(Classified(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))), 6)
    1.0
    """
    expected = tested.scores.astype(np.float64) @ np.arange(tested.count)
    return normalised_gini(tested.targets.astype(np.float64), expected)


def confusion_columns(tested: Classified) -> list[dict[str, list[float]]]:
    """For each true class, what its samples were taken for, as shares; all zero without samples.

    >>> confusion_columns(Classified(np.eye(2)[[0, 1]], np.array([0, 0]), ["cat", "dog"]))
    [{'cat': [0.5, 0.5]}, {'dog': [0.0, 0.0]}]
    """
    sums = tested.confusion.sum(axis=0)
    shares = tested.confusion / np.where(sums == 0, 1, sums)
    return [{name: shares[:, c].tolist()} for c, name in enumerate(tested.names)]


def raw(tested: Classified) -> Results:
    """Each sample's true class, estimated class and the confidence in it.

    >>> raw(Classified(np.array([[0.25, 0.75]]), np.array([0]), ["cat", "dog"]))
    {'truths': ['cat'], 'estimations': ['dog'], 'confidences': [0.75]}
    """
    return {
        "truths": [tested.name(int(target)) for target in tested.targets],
        "estimations": [tested.name(int(estimate)) for estimate in tested.estimates],
        "confidences": tested.scores.max(axis=1).tolist(),
    }


def _acc(tested: Classified, number: float | None) -> Results:
    if number is None:
        return {"acc": accuracy(tested)}
    k = whole(number)
    return {f"acc-{k}": accuracy(tested, k)}


def _f1(tested: Classified, _: float | None) -> Results:
    return {
        "f1": float(f_scores(tested).mean()),
        "recall": float(tested.recalls.mean()),
        "precision": float(tested.precisions.mean()),
        "accp": float(tested.hits.sum() / max(1, len(tested.targets))),
    }


def _f1full(tested: Classified, _: float | None) -> Results:
    return _f1(tested, None) | {
        "precisions": tested.precisions.tolist(),
        "recalls": tested.recalls.tolist(),
        "f1s": f_scores(tested).tolist(),
        "labels": tested.names,
    }


def _cmdiag(tested: Classified, _: float | None) -> Results:
    return {"cmdiag": tested.recalls.tolist(), "labels": tested.names}


MEASURES: Mapping[str, Measure] = {
    "acc": _acc,
    "f1": _f1,
    "f1full": _f1full,
    "cmdiag": _cmdiag,
    "cmfull": lambda tested, _: {"cmfull": confusion_columns(tested)},
    "mcll": lambda tested, _: {"mcll": log_loss(tested)},
    "auc": lambda tested, _: {"auc": auc(tested)},
    "mcc": lambda tested, _: {"mcc": matthews(tested)},
    "gini": lambda tested, _: {"gini": gini(tested)},
    "raw": lambda tested, _: {"raw": raw(tested)},
}
LOOSE = ("acc",)


def knows(request: str) -> bool:
    """Whether a requested name is a measure of classifiers."""
    return match(request, list(MEASURES), LOOSE) is not None


def whole(number: float) -> int:
    """The k of `acc-k`. Raises ParameterError if it is no number of classes."""
    if number < 1 or number != int(number):
        raise ParameterError(f"measure acc-{number:g}: behind the dash stands a number of classes")
    return int(number)


def check_targets(targets: Array, count: int) -> None:
    """Raises ParameterError for a class id that the model does not have."""
    if targets.size and targets.min() < 0:
        raise ParameterError(
            "negative supervised discrete target (e.g. wrong use of label_offset ?"
        )
    if targets.size and targets.max() >= count:
        raise ParameterError(
            f"target class has id {targets.max()} is higher than the number of classes {count} "
            "(e.g. wrong number of classes specified with nclasses"
        )


def compute(
    requests: Sequence[str], scores: Array, targets: Array, labels: Sequence[str] = ()
) -> Results:
    """The requested measures; names of other families are left out.

    >>> compute(["acc"], np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]))
    {'acc': 0.5}
    """
    check_targets(targets, scores.shape[1])
    tested = Classified(scores, targets, labels)
    found: Results = {}
    for _, measure, number in matched(requests, MEASURES, LOOSE):
        found |= measure(tested, number)
    return found
