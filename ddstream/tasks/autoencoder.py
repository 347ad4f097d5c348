"""Autoencoder: how badly a model gives back what it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample
from ddstream.measures import regression
from ddstream.measures.request import match
from ddstream.tasks.elements import ended, flat
from ddstream.tasks.protocol import UNKNOWN, Rows, Tally, Traits

MEASURES = ("eucll", "l1")
"""Both are the mean loss: the distance of the losses from none."""


class Autoencoder:
    """Reads outputs as losses, one number a sample (contract 2.5)."""

    name = "autoencoder"
    measures: Sequence[str] = ("eucll",)

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        """There is nothing to know of the model."""

    def activate(self, outputs: Outputs) -> Array:
        """Losses N x 1 of a batch."""
        return flat(outputs[OUTPUT])

    def decode(self, row: Array, sample: Sample, output: OutputParameters) -> Json:
        """The loss of a sample."""
        losses = ended([{"loss": float(loss)} for loss in row.tolist()])
        return {"uri": sample.uri, "classes": [], "losses": losses}

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of losses N x 1; no sample needs a target."""
        return _Losses([name for name in measures if self.knows(name)])

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return match(measure, list(MEASURES), regression.LOOSE) is not None


class _Losses:
    """Keeps the losses of a test set."""

    def __init__(self, measures: Sequence[str]) -> None:
        self._measures = measures
        self._rows: list[Array] = []

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch."""
        self._rows.append(np.asarray(rows))

    def result(self) -> Mapping[str, Any]:
        """The measures of all that was added."""
        losses = np.concatenate(self._rows)
        return regression.compute(self._measures, losses, np.zeros_like(losses))
