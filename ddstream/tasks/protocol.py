"""What a task is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import Array, Outputs, Sample

Rows: TypeAlias = Array | Sequence[Any]
"""What a task reads from a batch's outputs: row i belongs to sample i; mostly an array N x ..."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a task must know of its model: class or target names, and how many there are."""

    classes: Sequence[str] = ()
    nclasses: int = 0
    multi_label: bool = False


UNKNOWN = Traits()


class Tally(Protocol):
    """Adds up the measures of one test set, batch after batch."""

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch: rows of `activate`, and the samples with their targets."""

    def result(self) -> Mapping[str, Any]:
        """The measures (contract 4), per-class lists and `raw` included."""


class Task(Protocol):
    """Reads rows of a model's output back into the documented JSON. Runs on CPU threads."""

    name: str
    """The `mltype` of the API."""
    measures: Sequence[str]
    """Default measures of its tests."""

    def __init__(self, traits: Traits = UNKNOWN) -> None: ...

    def activate(self, outputs: Outputs) -> Rows:
        """The rows of a whole batch that `decode` and a tally read."""

    def decode(self, row: Any, sample: Sample, output: OutputParameters) -> Json:
        """The prediction object of one sample (contract 2.1) from its row."""

    def tally(self, measures: Sequence[str]) -> Tally:
        """A new count of these measures. Raises ParameterError where the task has none at all."""

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure; others are left out of its results."""
