"""Regression: one or more numbers a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample, Target
from ddstream.measures import regression
from ddstream.tasks.elements import flat, vector
from ddstream.tasks.gathered import Gathered
from ddstream.tasks.protocol import UNKNOWN, Tally, Traits


class Regression:
    """Reads outputs as the values themselves; `classes` are the targets' names."""

    name = "regression"
    measures: Sequence[str] = ("eucll",)

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._names = traits.classes

    def activate(self, outputs: Outputs) -> Array:
        """Values N x D of a batch."""
        return flat(outputs[OUTPUT])

    def decode(self, row: Array, sample: Sample, output: OutputParameters) -> Json:
        """All targets, in the reference's order: the highest value first (contract 2.4)."""
        found = vector(row, self._names)
        return {"uri": sample.uri, "loss": 0.0, "classes": [], "vector": found}

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of values N x D against vectors of D."""

        def measured(rows: Array, targets: Sequence[Target]) -> Mapping[str, Any]:
            wanted = np.stack([np.atleast_1d(np.asarray(target)) for target in targets])
            return regression.compute(measures, rows, wanted)

        return Gathered(measured)

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return regression.knows(measure)
