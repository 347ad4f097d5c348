"""What a backend is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ddstream.api.parameters import ParameterObject
from ddstream.api.predict import OutputParameters
from ddstream.api.showing import Showing
from ddstream.data import UNSIZED, Batch, Datasets, Dimensions, ModelStats, Outputs, Progress
from ddstream.repository import Repository
from ddstream.tasks import Task

Failure = Literal["sample", "memory", "broken"]
"""What a failed pass means. Sample: one of its samples cannot be done. Memory: fewer samples may
fit. Broken: its device will fail every later pass of this process too."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a backend is made of: the creation's raw `parameters.mllib` and its surroundings.

    `input` is the connector's typed parameters, `dimensions` what its samples are as far as that is
    known; `weights` the file named in the model object, `pretrained` that of `mllib`, anywhere.
    """

    mllib: Mapping[str, Any]
    input: ParameterObject
    repository: Repository
    dimensions: Dimensions = UNSIZED
    weights: str = ""
    pretrained: Path | None = None
    service_type: str = "supervised"


class Backend(Protocol):
    """One loaded model. Every method but `load` runs on the model's own thread."""

    connectors: Sequence[str]
    """Connectors whose samples it takes."""

    @property
    def parameters(self) -> ParameterObject:
        """The typed `parameters.mllib` of creation."""

    @property
    def mltype(self) -> str:
        """The name of its task in TASKS."""

    @property
    def trained(self) -> bool:
        """It has weights that somebody trained, not only initial ones."""

    def call_parameters(
        self, raw: Mapping[str, Any], output: OutputParameters | None = None
    ) -> ParameterObject:
        """The typed parameters of a predict call; `raw` is creation's merged with the call's.

        What of `output` acts inside the model is in them.

        Raises ParameterError for what cannot be done (unknown layer, fp16 on a CPU, ...)."""

    def task(self, call: ParameterObject) -> Task:
        """The task that reads the outputs of such a call (features where a layer is extracted)."""

    def forward(self, batch: Batch, call: ParameterObject) -> Outputs:
        """One pass. Raises DDError, or whatever its library raises."""

    def failure(self, error: Exception) -> Failure:
        """What it means that `forward` raised this, and frees what the failed pass held.

        Never raises."""

    def stats(self) -> ModelStats:
        """Size of the model."""

    def close(self) -> None:
        """Free the model's memory."""


class Trainable(Protocol):
    """A backend's training, in a process of its own."""

    @property
    def warnings(self) -> Sequence[str]:
        """What it ignores or does otherwise than asked; complete once `fit` has returned."""

    @property
    def history(self) -> Mapping[str, Sequence[float]]:
        """The points up to the checkpoint that it goes on from; known once `fit` has returned."""

    def fit(
        self,
        data: Datasets,
        raw: Mapping[str, Any],
        measures: Sequence[str],
        showing: Showing | None = None,
    ) -> Iterator[Progress]:
        """Train; yields after each iteration. Stopping it (`close()`) saves a checkpoint first.

        `raw` is `parameters.mllib`, creation's merged with the call's; `showing` are samples whose
        predictions each test shows."""


class BackendType(Protocol):
    """Loads a backend, weights included. Raises ParameterError with what is wrong."""

    connectors: Sequence[str]
    service_types: Sequence[str]

    def __call__(self, setup: Setup) -> Backend: ...

    @staticmethod
    def trainer(setup: Setup) -> Trainable:
        """The training of such a model; refuses with ParameterError what it cannot train."""

    @staticmethod
    def training_parameters(raw: Mapping[str, Any]) -> ParameterObject:
        """The typed `parameters.mllib` of a training, without loading anything.

        Raises ParameterError for what can be refused before it starts."""
