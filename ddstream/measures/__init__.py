"""Measures: scores from arrays, one function a measure. No model, no request, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["PER_CLASS", "averaged"]

PER_CLASS = ("cmdiag", "clacc", "cliou")
"""Lists with a value for each class, which a history keeps class by class (contract 4.1); their
result has the classes' names as `labels`."""


def averaged(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean over test sets of every double (contract 4.1); a set without it counts as zero.

    >>> averaged([{"acc": 1.0, "test_id": 0}, {"acc": 0.5, "test_id": 1}])
    {'acc': 0.75}
    """
    sums: dict[str, float] = {}
    for result in results:
        for name, value in result.items():
            if isinstance(value, float):
                sums[name] = sums.get(name, 0.0) + value
    return {name: total / len(results) for name, total in sums.items()}
