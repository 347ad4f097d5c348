"""A backend that stands for a device of 500 images a second: it sleeps 2 ms an image."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ddstream.api.parameters import ParameterObject
from ddstream.api.predict import OutputParameters
from ddstream.api.torch import TorchParameters
from ddstream.backends.protocol import Failure, Setup, Trainable
from ddstream.data import OUTPUT, Batch, ModelStats, Outputs
from ddstream.errors import ParameterError
from ddstream.tasks import TASKS, Task

SECONDS_AN_IMAGE = 0.002
CLASSES = 10


class DeviceBackend:
    """Takes images as the Torch backend does, and gives equal scores for all classes."""

    connectors = ("image",)
    service_types = ("supervised",)

    def __init__(self, setup: Setup) -> None:
        self._parameters = self.call_parameters(setup.mllib)
        self.mltype = "classification"
        self.trained = True

    @staticmethod
    def trainer(setup: Setup) -> Trainable:
        raise ParameterError("a device cannot be trained")

    @staticmethod
    def training_parameters(raw: Mapping[str, Any]) -> ParameterObject:
        raise ParameterError("a device cannot be trained")

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
        time.sleep(SECONDS_AN_IMAGE * len(batch))
        return {OUTPUT: np.zeros((len(batch), CLASSES), np.float32)}

    def failure(self, error: Exception) -> Failure:
        return "sample"

    def stats(self) -> ModelStats:
        return ModelStats()

    def close(self) -> None:
        pass
