"""The Torch backend: one model, from a template or a traced file, that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ddstream.api.parameters import ParameterObject
from ddstream.api.torch import TorchParameters, TorchTraining
from ddstream.backends.protocol import Failure, Setup, Trainable
from ddstream.backends.torch.devices import devices, number_type
from ddstream.backends.torch.failures import meaning
from ddstream.backends.torch.inference import Pass, Prepared, run
from ddstream.backends.torch.losses import check_loss
from ddstream.backends.torch.model import MOST, load_model
from ddstream.backends.torch.solvers import check_solver
from ddstream.backends.torch.trainer import TorchTrainer
from ddstream.data import OUTPUT, Batch, ModelStats, Outputs
from ddstream.errors import ParameterError
from ddstream.tasks import TASKS, Task

MLLIB = "parameters.mllib"
FIXED = ("template", "template_params", "nclasses", "ntargets", "finetuning", "seed", "loss")
"""What makes the model: a predict call cannot change it."""


class TorchBackend:
    """Runs a model's forward passes. Its model is never trained in place: see `trainer`."""

    connectors = ("image",)
    service_types = ("supervised", "unsupervised")

    def __init__(self, setup: Setup) -> None:
        self._parameters = TorchParameters.parse(setup.mllib, MLLIB, ParameterError)
        self._unsupervised = setup.service_type == "unsupervised"
        self._classes = setup.repository.classes()
        check_loss(self._parameters)
        targets, dtype = devices(self._parameters), number_type(self._parameters)
        model = load_model(self._parameters, setup.repository, setup.weights)
        self._prepared = Prepared(model)
        for device in targets:
            self._prepared.fast(device, dtype)
        self.warnings = list(model.warnings)
        self.call_parameters(setup.mllib)

    @staticmethod
    def trainer(setup: Setup) -> Trainable:
        """The training of such a model."""
        return TorchTrainer(setup)

    @staticmethod
    def training_parameters(raw: Mapping[str, Any]) -> ParameterObject:
        """The typed parameters of a training. Raises ParameterError for what cannot be."""
        parameters = TorchTraining.parse(raw, MLLIB, ParameterError)
        check_solver(parameters.solver)
        check_loss(parameters)
        return parameters

    @property
    def parameters(self) -> ParameterObject:
        """The typed `parameters.mllib` of creation."""
        return self._parameters

    @property
    def mltype(self) -> str:
        """The name of its task."""
        return "features" if self._unsupervised else task_name(self._parameters)

    @property
    def trained(self) -> bool:
        """All its weights are from a file."""
        return self._prepared.model.trained

    def call_parameters(self, raw: Mapping[str, Any]) -> ParameterObject:
        """The typed parameters of a predict call. Raises ParameterError for what cannot be."""
        call = TorchParameters.parse(raw, MLLIB, ParameterError)
        for name in FIXED:
            if getattr(call, name) != getattr(self._parameters, name):
                raise ParameterError(f"{MLLIB}.{name} cannot be changed after creation")
        devices(call)
        number_type(call)
        layers = self._prepared.model.layers
        if call.extract_layer and call.extract_layer not in layers:
            some = ", ".join(layers[:MOST]) + (", ..." if len(layers) > MOST else "")
            raise ParameterError(f"unknown extract layer {call.extract_layer}; there is: {some}")
        return call

    def task(self, call: ParameterObject) -> Task:
        """The task that reads the outputs of such a call."""
        assert isinstance(call, TorchParameters)
        name = "features" if call.extract_layer else self.mltype
        return TASKS.load(name)(classes=self._classes, multi_label=call.multi_label)

    def forward(self, batch: Batch, call: ParameterObject) -> Outputs:
        """One pass over a batch of images. Raises InputError for images of wrong channels."""
        assert isinstance(call, TorchParameters)
        final = call.extract_layer in ("", "last") or self._prepared.model.traced
        how = Pass(
            devices(call),
            number_type(call),
            batch.normalise,
            "" if final else call.extract_layer,
        )
        return {OUTPUT: run(self._prepared, batch.inputs["image"], how)}

    def failure(self, error: Exception) -> Failure:
        """What a failed pass means: its memory, its device or its samples."""
        return meaning(error, self._prepared.devices())

    def stats(self) -> ModelStats:
        """Number of its parameters."""
        sizes = [(p.numel(), p.requires_grad) for p in self._prepared.model.module.parameters()]
        frozen = sum(size for size, learns in sizes if not learns)
        return ModelStats(params=sum(size for size, _ in sizes), frozen_params=frozen)

    def close(self) -> None:
        """Free the model's memory; nothing can be predicted any more."""
        self._prepared.free()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def task_name(parameters: TorchParameters) -> str:
    """What the numbers mean: targets if there are no classes, else classes (contract 5.1)."""
    return "regression" if parameters.ntargets and not parameters.nclasses else "classification"
