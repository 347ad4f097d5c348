"""Gathered: a tally that needs all rows of a test set at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ddstream.data import Array, Sample, Target
from ddstream.errors import InputError
from ddstream.tasks.protocol import Rows


class Gathered:
    """Keeps rows N x ... and targets, and measures them at the end.

    `array` says what of a batch's rows is kept.
    """

    def __init__(
        self,
        measure: Callable[[Array, Sequence[Target]], Mapping[str, Any]],
        array: Callable[[Rows], Array] = np.asarray,
    ) -> None:
        self._measure = measure
        self._array = array
        self._rows: list[Array] = []
        self._targets: list[Target] = []

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch. Raises InputError for a sample without a target."""
        for sample in samples:
            if sample.target is None:
                raise InputError(f"{sample.uri} has no target")
            self._targets.append(sample.target)
        self._rows.append(self._array(rows))

    def result(self) -> Mapping[str, Any]:
        """The measures of all that was added."""
        return self._measure(np.concatenate(self._rows), self._targets)
