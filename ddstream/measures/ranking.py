"""Measures of order that several families share: area under the curve and Gini."""

from __future__ import annotations

import numpy as np

from ddstream.measures.arrays import Array


def area_under_curve(scores: Array, positive: Array) -> float:
    """Area under the ROC curve: the chance that a positive (N booleans) scores above a negative.

    Ties count one half, which is what trapezoids give. It is 1 when only one class is present
    (contract 4.3).

    >>> area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return 1.0
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    above = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def normalised_gini(actual: Array, predicted: Array) -> float:
    """Gini of the order that `predicted` gives, by the Gini of the best order: 1 is perfect.

    >>> normalised_gini(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0]))
    1.0
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(_gini(actual, predicted), _gini(actual, actual)))


def _gini(actual: Array, predicted: Array) -> float:
    # Sorted by prediction, the highest first: how far the share of what was gathered runs ahead
    # of the share of samples, on average.
    gathered = np.cumsum(actual[np.argsort(-predicted, kind="stable")], dtype=np.float64)
    samples = np.arange(1, len(actual) + 1) / len(actual)
    return float(np.mean(gathered / gathered[-1] - samples))
