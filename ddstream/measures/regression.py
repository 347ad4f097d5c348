"""Measures of a regression (contract 4.4): predictions N x D against targets N x D."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ddstream.measures.arrays import Array
from ddstream.measures.ranking import normalised_gini
from ddstream.measures.request import match, matched

Results: TypeAlias = dict[str, float]
Measure: TypeAlias = Callable[[Array, Array, float | None], Results]


def euclidean(predictions: Array, targets: Array, threshold: float = 0.0) -> float:
    """Mean distance of a sample, divided by D; differences below `threshold` count as none.

    >>> euclidean(np.array([[3.0, 4.0]]), np.zeros((1, 2)))
    2.5
    """
    squares = _squares(predictions, targets, threshold)
    return float(np.mean(np.sqrt(squares.sum(axis=1))) / targets.shape[1])


def euclidean_of_each(predictions: Array, targets: Array, threshold: float = 0.0) -> list[float]:
    """For each target, the root of the summed squares over all samples, divided by N.

    >>> euclidean_of_each(np.array([[3.0], [4.0]]), np.zeros((2, 1)))
    [2.5]
    """
    squares = _squares(predictions, targets, threshold)
    roots: list[float] = (np.sqrt(squares.sum(axis=0)) / len(targets)).tolist()
    return roots


def absolute(predictions: Array, targets: Array) -> list[float]:
    """For each target, the mean absolute difference.

    >>> absolute(np.array([[1.0], [3.0]]), np.zeros((2, 1)))
    [2.0]
    """
    means: list[float] = np.abs(predictions - targets).mean(axis=0).tolist()
    return means


def percentage(predictions: Array, targets: Array) -> list[float]:
    """For each target, the mean absolute difference in percent of the target's size.

    >>> [round(value, 6) for value in percentage(np.array([[3.0]]), np.array([[2.0]]))]
    [50.0]
    """
    shares = np.abs(predictions - targets) / (np.abs(targets) + 1e-9)
    means: list[float] = (100 * shares.mean(axis=0)).tolist()
    return means


def gini(predictions: Array, targets: Array) -> float:
    """Normalised Gini of the first target.

    >>> gini(np.array([[1.0], [2.0]]), np.array([[5.0], [6.0]]))
    1.0
    """
    return normalised_gini(targets[:, 0], predictions[:, 0])


def _squares(predictions: Array, targets: Array, threshold: float) -> Array:
    differences = np.abs(predictions - targets)
    squares: Array = np.where(differences >= threshold, differences, 0.0) ** 2
    return squares


def _eucll(predictions: Array, targets: Array, threshold: float | None) -> Results:
    found = _distances(predictions, targets, "eucll", "", 0.0)
    if threshold is not None and threshold > 0:
        found |= _distances(predictions, targets, "eucll_no", f"_{threshold:.6f}", threshold)
    return found


def _distances(
    predictions: Array, targets: Array, name: str, suffix: str, threshold: float
) -> Results:
    found = {f"{name}{suffix}": euclidean(predictions, targets, threshold)}
    if targets.shape[1] > 1:
        each = euclidean_of_each(predictions, targets, threshold)
        found |= {f"{name}_{j}{suffix}": value for j, value in enumerate(each)}
    return found


def _with_each(name: str, each: list[float]) -> Results:
    mean = sum(each) / len(each)
    return {name: mean} | {f"{name}_{j}": value for j, value in enumerate(each)}


MEASURES: Mapping[str, Measure] = {
    "eucll": _eucll,
    "l1": lambda p, t, _: _with_each("l1", absolute(p, t)),
    "percent": lambda p, t, _: _with_each("percent", percentage(p, t)),
    "gini": lambda p, t, _: {"gini": gini(p, t)},
}
LOOSE = ("eucll",)


def knows(request: str) -> bool:
    """Whether a requested name is a measure of regressions."""
    return match(request, list(MEASURES), LOOSE) is not None


def compute(requests: Sequence[str], predictions: Array, targets: Array) -> Results:
    """The requested measures; names of other families are left out.

    >>> compute(["eucll"], np.array([[1.0]]), np.array([[3.0]]))
    {'eucll': 2.0}
    """
    wide = predictions.astype(np.float64), targets.astype(np.float64)
    found: Results = {}
    for _, measure, number in matched(requests, MEASURES, LOOSE):
        found |= measure(*wide, number)
    return found
