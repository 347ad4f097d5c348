"""A small real backend whose passes a test can watch, hold and fail: it sums pixels."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ddstream.api.parameters import ParameterObject
from ddstream.api.predict import OutputParameters
from ddstream.api.torch import TorchParameters, TorchTraining
from ddstream.backends.protocol import Failure, Setup, Trainable
from ddstream.data import OUTPUT, Batch, ModelStats, Outputs
from ddstream.errors import ParameterError
from ddstream.tasks import TASKS, Task


class ProbeBackend:
    """Two scores an image: its mean and 255 minus it. White images make it fail, images of level
    254 break its device, and more than `room` images run out of memory."""

    connectors = ("image",)
    service_types = ("supervised",)
    go: ClassVar[threading.Event] = threading.Event()
    """Passes wait for it."""
    sizes: ClassVar[list[int]] = []
    """Sizes of the passes that were run."""
    room: ClassVar[int] = 1 << 30
    """Images that fit into its memory."""

    def __init__(self, setup: Setup) -> None:
        self._parameters = self.call_parameters(setup.mllib)
        self.mltype = "classification"
        self.trained = True
        self.closed = False

    @staticmethod
    def trainer(setup: Setup) -> Trainable:
        raise ParameterError("a probe cannot be trained")

    @staticmethod
    def training_parameters(raw: Mapping[str, Any]) -> ParameterObject:
        return TorchTraining.parse(raw, "parameters.mllib", ParameterError)

    @property
    def parameters(self) -> ParameterObject:
        return self._parameters

    def call_parameters(
        self, raw: Mapping[str, Any], output: OutputParameters | None = None
    ) -> ParameterObject:
        return TorchParameters.parse(raw, "parameters.mllib", ParameterError)

    def task(self, call: ParameterObject) -> Task:
        return TASKS.load(self.mltype)()

    def forward(self, batch: Batch, call: ParameterObject) -> Outputs:
        assert self.go.wait(60)
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise MemoryError("no room")
        means = batch.inputs["image"].mean(axis=(1, 2, 3))
        if (means == 254).any():
            raise RuntimeError("CUDA error: device-side assert triggered\nCompile with ...")
        if (means == 255).any():
            raise RuntimeError("snow blind")
        scores = np.stack([means, 255 - means], axis=1)
        return {OUTPUT: scores.astype(np.float32)}

    def failure(self, error: Exception) -> Failure:
        if isinstance(error, MemoryError):
            return "memory"
        return "broken" if "CUDA error" in str(error) else "sample"

    def stats(self) -> ModelStats:
        return ModelStats(params=2)

    def close(self) -> None:
        self.closed = True
