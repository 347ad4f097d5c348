"""Features: the values of a layer, as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample
from ddstream.errors import ParameterError
from ddstream.tasks.elements import flat
from ddstream.tasks.protocol import UNKNOWN, Tally, Traits


class Features:
    """Reads outputs as one flat list of doubles a sample (contract 2.10)."""

    name = "features"
    measures: Sequence[str] = ()

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        pass

    def activate(self, outputs: Outputs) -> Array:
        """Values N x F of a batch, each sample's row by row."""
        return flat(outputs[OUTPUT])

    def decode(self, row: Array, sample: Sample, output: OutputParameters) -> Json:
        """All values of one sample."""
        return {"uri": sample.uri, "classes": [], "vals": _values(row, output)}

    def tally(self, measures: Sequence[str]) -> Tally:
        """Raises ParameterError: there is nothing to compare features with."""
        raise ParameterError("parameters.output.measure: features have no measures")

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure: never."""
        return False


def _values(row: Array, output: OutputParameters) -> list[float] | list[bool] | str:
    """The values as they are, or whether each is above zero, in the form asked for."""
    if output.string_binarized:
        return (row > 0).astype(np.uint8).astype("S1").tobytes().decode()
    if output.bool_binarized:
        flags: list[bool] = (row > 0).tolist()
        return flags
    values: list[float] = (row > 0 if output.binarized else row).astype(np.float64).tolist()
    return values
