"""Measures of independent scores (contract 4.8): scores N x C against targets N x C.

Targets below zero are unknown and left out. A target of 0.5 or more is a yes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ddstream.measures.arrays import Array
from ddstream.measures.request import match, matched

FLOOR = 1e-5
"""Probabilities below are raised to it, so that logarithms stay finite."""
DELTAS = (0.05, 0.1, 0.2, 0.5)

Results: TypeAlias = dict[str, float]
Soft: TypeAlias = Callable[[Array, Array, Array], Results]
"""Scores, targets, and which of them count."""


def hard(scores: Array, targets: Array) -> Results:
    """Yes or no for each known label, a score of 0.5 being yes: the counts' usual ratios.

    >>> found = hard(np.array([[0.9, 0.2, 0.8]]), np.array([[1.0, 0.0, 0.0]]))
    >>> found["sensitivity"], found["specificity"], found["precision"]
    (1.0, 0.5, 0.5)
    """
    known, yes, said = targets >= 0, targets >= 0.5, scores >= 0.5
    tp, tn = float((known & yes & said).sum()), float((known & ~yes & ~said).sum())
    positives, negatives = float((known & yes).sum()), float((known & ~yes).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = float(np.divide(tp, (known & said).sum()))
        sensitivity, specificity = float(np.divide(tp, positives)), float(np.divide(tn, negatives))
        f1 = float(np.divide(2 * precision * sensitivity, precision + sensitivity))
        harmonic = float(np.divide(2.0, np.divide(positives, tp) + np.divide(negatives, tn)))
    return {
        "f1": f1,
        "precision": precision,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "harmmean": harmonic,
    }


def kullback_leibler(scores: Array, targets: Array, counted: Array) -> float:
    """Mean of t ln(t / p).

    >>> ones = np.ones((1, 2))
    >>> round(kullback_leibler(ones / 2, ones, ones > 0), 4)
    0.6931
    """
    p, t = np.maximum(scores, FLOOR)[counted], np.maximum(targets, FLOOR)[counted]
    return _mean(t * np.log(t / p))


def jensen_shannon(scores: Array, targets: Array, counted: Array) -> float:
    """Mean divergence of both from their middle.

    >>> jensen_shannon(np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 2), bool))
    0.0
    """
    p, t = np.maximum(scores, FLOOR)[counted], np.maximum(targets, FLOOR)[counted]
    return _mean((t * np.log(2 * t / (p + t)) + p * np.log(2 * p / (p + t))) / 2)


def wasserstein(scores: Array, targets: Array, counted: Array) -> float:
    """Root of the mean squared difference.

    >>> wasserstein(np.zeros((1, 2)), np.full((1, 2), 3.0), np.ones((1, 2), bool))
    3.0
    """
    return float(np.sqrt(_mean((targets - scores)[counted] ** 2)))


def kolmogorov_smirnov(scores: Array, targets: Array, counted: Array) -> float:
    """Largest difference of all samples.

    >>> kolmogorov_smirnov(np.array([[0.1, 0.5]]), np.ones((1, 2)), np.ones((1, 2), bool))
    0.9
    """
    return float(np.abs(targets - scores)[counted].max(initial=0.0))


def distance_correlation(scores: Array, targets: Array, counted: Array) -> float:
    """Mean over samples of the distance correlation (Szekely 2007) across their labels.

    >>> line = np.array([[0.1, 0.4, 0.9]])
    >>> round(distance_correlation(line, 2 * line, line > 0), 6)
    1.0
    """
    rows = [
        _correlation(p[use], t[use])
        for p, t, use in zip(scores, targets, counted, strict=True)
        if use.any()
    ]
    return _mean(np.array(rows))


def r_squared(scores: Array, targets: Array, counted: Array) -> float:
    """Share of the targets' variance that the scores explain.

    >>> r_squared(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]), np.ones((1, 2), bool))
    1.0
    """
    t = targets[counted]
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.sum((t - scores[counted]) ** 2)
        return float(1 - np.divide(rest, np.sum((t - _mean(t)) ** 2)))


def within(scores: Array, targets: Array, counted: Array, delta: float) -> float:
    """Share of labels that differ by less than `delta`.

    >>> within(np.array([[0.1, 0.5]]), np.zeros((1, 2)), np.ones((1, 2), bool), 0.2)
    0.5
    """
    return _mean((np.abs(targets - scores) < delta)[counted])


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def _correlation(x: Array, y: Array) -> float:
    a, b = _centred(x), _centred(y)
    spread = np.sqrt((a * a).mean() * (b * b).mean())
    # A constant has no distances: by definition it correlates with nothing.
    return float(np.sqrt(max((a * b).mean(), 0.0) / spread)) if spread else 0.0


def _centred(x: Array) -> Array:
    distances = np.abs(x[:, None] - x)
    rows, columns = distances.mean(axis=0), distances.mean(axis=1)[:, None]
    centred: Array = distances - rows - columns + distances.mean()
    return centred


def _deltas(scores: Array, targets: Array, counted: Array) -> Results:
    return {f"delta_score_{d:g}": within(scores, targets, counted, d) for d in DELTAS}


SOFT: Mapping[str, Soft] = {
    "kl": lambda s, t, c: {"kl_divergence": kullback_leibler(s, t, c)},
    "js": lambda s, t, c: {"js_divergence": jensen_shannon(s, t, c)},
    "was": lambda s, t, c: {"wasserstein": wasserstein(s, t, c)},
    "ks": lambda s, t, c: {"kolmogorov_smirnov": kolmogorov_smirnov(s, t, c)},
    "dc": lambda s, t, c: {"distance_correlation": distance_correlation(s, t, c)},
    "r2": lambda s, t, c: {"r2": r_squared(s, t, c)},
    "deltas": _deltas,
}
LOOSE = tuple(SOFT)
HARD = ("acc", "f1")


def knows(request: str) -> bool:
    """Whether a requested name is a measure of independent scores."""
    return match(request, [*HARD, *SOFT], ("acc", *LOOSE)) is not None


def compute(requests: Sequence[str], scores: Array, targets: Array) -> Results:
    """The requested measures; names of other families are left out.

    Each soft measure comes a second time over targets above a threshold, the number behind the
    dash (0 without one), as `<key>_no_<threshold>`.

    >>> sorted(compute(["was"], np.zeros((1, 1)), np.ones((1, 1))))
    ['wasserstein', 'wasserstein_no_0.000000']
    """
    scores, targets = scores.astype(np.float64), targets.astype(np.float64)
    found: Results = {}
    if any(match(request, HARD, ("acc",)) for request in requests):
        found |= hard(scores, targets)
    for _, measure, number in matched(requests, SOFT, LOOSE):
        threshold = number or 0.0
        found |= measure(scores, targets, targets >= 0)
        above = measure(scores, targets, (targets >= 0) & (targets > threshold))
        found |= {f"{name}_no_{threshold:.6f}": value for name, value in above.items()}
    return found
