"""What a task is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import Array, Outputs, Sample


class Task(Protocol):
    """Reads rows of a model's output back into the documented JSON. Runs on CPU threads."""

    name: str
    """The `mltype` of the API."""
    measures: Sequence[str]
    """Default measures of its tests."""

    def __init__(self, *, classes: Sequence[str] = (), multi_label: bool = False) -> None: ...

    def activate(self, outputs: Outputs) -> Array:
        """The values of a whole batch (N x ...) that `decode` and `score` read."""

    def decode(self, scores: Array, sample: Sample, output: OutputParameters) -> Json:
        """The prediction object of one sample (contract 2.1) from its row of scores."""

    def score(
        self, scores: Array, targets: Sequence[Any], measures: Sequence[str]
    ) -> Mapping[str, Any]:
        """The measures of a test set (contract 4): `scores` N x ..., `targets` as in Sample."""

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure; others are left out of its results."""
