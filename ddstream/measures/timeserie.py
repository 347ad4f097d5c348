"""Measures of time series (contract 4.7): steps told N x T x D against the steps that came.

Where the reference's formulas are slips of its code, the standard ones stand here: errors are
plain means over all windows and steps, percentages and MASE are of the original units and have no
constant added, and what cannot be divided by zero is left out. L1 and L2 stay in scaled units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np

from ddstream.measures.arrays import Array
from ddstream.measures.request import match, matched

Results: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Told:
    """Windows of a test set: scaled predictions and targets N x T x D.

    `spread` and `origin` (D) make original units of them: value = scaled * spread + origin.
    `before` (N x D, scaled) is the step that came before each window, NaN where none is known.
    """

    predictions: Array
    targets: Array
    spread: Array
    origin: Array
    before: Array

    @classmethod
    def plain(cls, predictions: Array, targets: Array) -> Told:
        """Windows that are not scaled, and whose past is not known."""
        n, _, d = targets.shape
        return cls(predictions, targets, np.ones(d), np.zeros(d), np.full((n, d), np.nan))

    @cached_property
    def errors(self) -> Array:
        """Absolute differences in scaled units."""
        found: Array = np.abs(self.predictions.astype(np.float64) - self.targets)
        return found

    @cached_property
    def differences(self) -> Array:
        """Absolute differences in original units."""
        found: Array = self.errors * np.abs(self.spread)
        return found

    @cached_property
    def came(self) -> Array:
        """The targets in original units."""
        return self._original(self.targets)

    @cached_property
    def told(self) -> Array:
        """The predictions in original units."""
        return self._original(self.predictions)

    @cached_property
    def repeated(self) -> Array:
        """What the naive forecast says: each step is like the one before; NaN where none is."""
        first = self._original(self.before)[:, None]
        found: Array = np.concatenate([first, self.came[:, :-1]], axis=1)
        return found

    def _original(self, values: Array) -> Array:
        found: Array = values.astype(np.float64) * self.spread + self.origin
        return found


Each: TypeAlias = Callable[[Told], Array]
"""A measure of each dimension."""


def mae(told: Told) -> Array:
    """Mean absolute difference of each dimension, in original units.

    >>> mae(Told.plain(np.array([[[1.0], [2.0]]]), np.zeros((1, 2, 1)))).tolist()
    [1.5]
    """
    return _mean(told.differences)


def mse(told: Told) -> Array:
    """Mean squared difference of each dimension, in original units.

    >>> mse(Told.plain(np.array([[[1.0], [3.0]]]), np.zeros((1, 2, 1)))).tolist()
    [5.0]
    """
    return _mean(told.differences**2)


def mape(told: Told) -> Array:
    """Mean absolute difference of each dimension in percent of what came; zeros are left out.

    >>> mape(Told.plain(np.array([[[3.0], [9.0]]]), np.array([[[2.0], [0.0]]]))).tolist()
    [50.0]
    """
    sizes = np.abs(told.came)
    shares: Array = 100 * _mean(_quotient(told.differences, sizes), sizes > 0)
    return shares


def smape(told: Told) -> Array:
    """Mean absolute difference of each dimension in percent of the middle of both sizes, as the M4
    competition has it (Makridakis 2020): 0 to 200; two zeros differ by nothing.

    >>> smape(Told.plain(np.array([[[3.0], [0.0]]]), np.array([[[1.0], [0.0]]]))).tolist()
    [50.0]
    """
    return _symmetric(told.told, told.came, np.isfinite(told.came))


def mase(told: Told) -> Array:
    """Mean absolute difference of each dimension as a multiple of the naive forecast's.

    Hyndman and Koehler (2006), with the mean change from one step to the next over the test set
    itself as the scale: below one, the model is better than repeating the step before.

    >>> came = np.array([[[0.0], [2.0], [4.0]]])
    >>> mase(Told.plain(came + 1, came)).tolist()
    [0.5]
    """
    naive = _mean(np.abs(told.came - told.repeated), np.isfinite(told.repeated))
    return _quotient(_mean(told.differences), naive)


def owa(told: Told) -> Array:
    """Overall weighted average of each dimension: the mean of sMAPE and MASE, each as a multiple of
    the naive forecast's, whose MASE is one (Makridakis 2020, with the step before as the naive).

    >>> came = np.array([[[1.0], [2.0], [4.0]]])
    >>> owa(Told.plain(came, came)).tolist()
    [0.0]
    """
    naive = _symmetric(told.repeated, told.came, np.isfinite(told.repeated))
    share = _quotient(smape(told), naive)
    found: Array = (share + mase(told)) / 2
    return found


def largest(errors: Array) -> tuple[Array, Array]:
    """The largest error of each dimension, and its step inside of its window.

    >>> largest(np.array([[[1.0], [3.0]], [[2.0], [0.0]]]))
    (array([3.]), array([1.]))
    """
    n, steps, dimensions = errors.shape
    flat = errors.reshape(n * steps, dimensions)
    places = flat.argmax(axis=0)
    return flat[places, np.arange(dimensions)], (places % steps).astype(np.float64)


def _symmetric(told: Array, came: Array, known: Array) -> Array:
    sizes = np.abs(told) + np.abs(came)
    shares = np.where(sizes == 0, 0.0, _quotient(np.abs(told - came), sizes))
    percent: Array = 200 * _mean(shares, known)
    return percent


def _mean(values: Array, known: Array | None = None) -> Array:
    """Mean of each dimension, over those that are `known`; NaN where none is."""
    if known is None:
        found: Array = values.mean(axis=(0, 1))
        return found
    sums = np.where(known, values, 0.0).sum(axis=(0, 1))
    return _quotient(sums, known.sum(axis=(0, 1)))


def _quotient(values: Array, by: Array) -> Array:
    """A quotient; NaN by zero."""
    found: Array = np.divide(values, by, out=np.full(values.shape, np.nan), where=by > 0)
    return found


def _distance(name: str, power: int, told: Told, *, each: bool) -> Results:
    """L1 or L2: largest and mean error of each dimension, and over the dimensions."""
    errors = told.errors**power
    worst, dates = largest(errors)
    means = _mean(errors)
    found = {f"{name}_max_error": float(worst.max()), f"{name}_mean_error": float(means.mean())}
    if each:
        for s, (most, date, mean) in enumerate(zip(worst, dates, means, strict=True)):
            found[f"{name}_max_error_{s}"] = float(most)
            found[f"{name}_max_error_{s}_date"] = float(date)
            found[f"{name}_mean_error_{s}"] = float(mean)
    return found


def _named(name: str, measure: Each, told: Told, *, each: bool) -> Results:
    values = measure(told)
    if each:
        return {f"{name}_{s}": float(value) for s, value in enumerate(values)}
    return {name: float(values.mean())}


_FAMILY: Mapping[str, Callable[..., Results]] = {
    "L1": partial(_distance, "L1", 1),
    "L2": partial(_distance, "L2", 2),
    "mape": partial(_named, "MAPE", mape),
    "smape": partial(_named, "sMAPE", smape),
    "mase": partial(_named, "MASE", mase),
    "owa": partial(_named, "OWA", owa),
    "mae": partial(_named, "MAE", mae),
    "mse": partial(_named, "MSE", mse),
}
MEASURES: Mapping[str, Callable[[Told], Results]] = {
    **{name: partial(measure, each=False) for name, measure in _FAMILY.items()},
    **{f"{name}_all": partial(measure, each=True) for name, measure in _FAMILY.items()},
}


def knows(request: str) -> bool:
    """Whether a requested name is a measure of time series."""
    return match(request, list(MEASURES), ()) is not None


def compute(requests: Sequence[str], told: Told) -> Results:
    """The requested measures, L1 where none of them is of this family.

    Beside L1 or L2 stands `eucll`, the mean error of L2 if that was asked for.

    >>> compute(["mae"], Told.plain(np.ones((1, 2, 1)), np.zeros((1, 2, 1))))
    {'MAE': 1.0}
    """
    wanted = [name for name in requests if knows(name)] or ["L1"]
    found: Results = {}
    for _, measure, _ in matched(wanted, MEASURES, ()):
        found |= measure(told)
    for name in ("L2_mean_error", "L1_mean_error"):
        if name in found:
            return {**found, "eucll": found[name]}
    return found
