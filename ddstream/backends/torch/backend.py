"""The Torch backend: one model, from a template or a traced file, that predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ddstream.api.parameters import ParameterObject
from ddstream.api.predict import OutputParameters
from ddstream.api.torch import TorchCall, TorchParameters, TorchTraining
from ddstream.backends.protocol import Failure, Setup, Trainable
from ddstream.backends.torch.devices import at_hand, devices, number_type
from ddstream.backends.torch.failures import meaning
from ddstream.backends.torch.network.architecture import kept
from ddstream.backends.torch.network.inference import Pass, Prepared, one_by_one, run
from ddstream.backends.torch.network.model import MOST, Model, Plan, load_model
from ddstream.backends.torch.network.taken import untaken
from ddstream.backends.torch.objectives import OBJECTIVES
from ddstream.backends.torch.purpose import idle, purpose
from ddstream.backends.torch.training.solvers import check_solver
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.connectors.texts.vocabulary import TAB, VOCABULARY, Vocabulary
from ddstream.data import LOGITS, OUTPUT, Batch, ModelStats, Outputs
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.tasks import TASKS, Task
from ddstream.tasks.protocol import Traits
from ddstream.templates.protocol import Unbuilt

MLLIB = "parameters.mllib"
FIXED = (
    "template",
    "template_params",
    "nclasses",
    "ntargets",
    "finetuning",
    "freeze_traced",
    "from_repository",
    "pretrained",
    "seed",
    "loss",
    "segmentation",
    "ctc",
    "self_supervised",
    "embedding_size",
    "layers",
    "dropout",
    "residual",
    "timesteps",
)
"""What makes the model: a predict call cannot change it."""
REMEMBERS = "continues"
"""What a sample's `meta` and a model of memory have: the next pass goes on from the one before."""
FOLDED = frozenset({"classification", "regression"})
"""Purposes whose models have no settings of their own."""
ABLE = {
    "bbox": ("detection", "finds no objects"),
    "logits": ("detection", "finds no objects"),
    "ctc": ("ctc", "reads no texts"),
    "confidences": ("segmentation", "gives pixels no classes"),
}
"""Members of `parameters.output` by the purpose that they need, and what other services do."""


class TorchBackend:
    """Runs a model's forward passes. Its model is never trained in place: see `trainer`."""

    connectors = ("image", "csv", "csv_ts", "csvts", "txt", "svm")
    service_types = ("supervised", "unsupervised")

    def __init__(self, setup: Setup) -> None:
        self._parameters = TorchParameters.parse(setup.mllib, MLLIB, ParameterError)
        self._unsupervised = setup.service_type == "unsupervised"
        self._purpose = purpose(self._parameters, setup.input)
        if self._unsupervised and self._purpose == "detection":
            raise ParameterError("an unsupervised service answers no objects")
        self._objective = OBJECTIVES.load(self._purpose)(self._parameters)
        names = words if self._purpose == "language" else Repository.classes
        self._traits = traits(names(setup.repository), self._parameters)
        self._prepared: Prepared | None = None
        self._missing = ""
        targets, dtype = devices(self._parameters), number_type(self._parameters)
        built, dimensions, self.warnings = kept(
            self._parameters, setup.dimensions, setup.repository
        )
        try:
            model = load_model(
                Plan(
                    built,
                    setup.repository,
                    dimensions,
                    setup.weights,
                    pretrained=setup.pretrained,
                )
            )
        except Unbuilt as error:
            # Its first training makes it.
            self._missing = str(error)
        else:
            self._prepared = Prepared(model, folds=self._purpose in FOLDED)
            for device in targets:
                self._prepared.fast(device, dtype)
            self.warnings += model.warnings
        self.warnings += idle(self._parameters, self._purpose)
        self.call_parameters(setup.mllib)

    @staticmethod
    def trainer(setup: Setup) -> Trainable:
        """The training of such a model."""
        return TorchTrainer(setup)

    @staticmethod
    def training_parameters(raw: Mapping[str, Any]) -> ParameterObject:
        """The typed parameters of a training. Raises ParameterError for what cannot be."""
        parameters = at_hand(TorchTraining.parse(raw, MLLIB, ParameterError))
        check_solver(parameters.solver)
        return parameters

    @property
    def parameters(self) -> ParameterObject:
        """The typed `parameters.mllib` of creation."""
        return self._parameters

    @property
    def mltype(self) -> str:
        """The name of its task."""
        return "features" if self._unsupervised else self._purpose

    @property
    def trained(self) -> bool:
        """It has weights that somebody trained."""
        return self._prepared is not None and self._prepared.model.trained

    def call_parameters(
        self, raw: Mapping[str, Any], output: OutputParameters | None = None
    ) -> ParameterObject:
        """The typed parameters of a predict call. Raises ParameterError for what cannot be."""
        output = output or OutputParameters()
        call = at_hand(TorchCall.parse(raw, MLLIB, ParameterError)).told(output)
        for name in FIXED:
            if getattr(call, name) != getattr(self._parameters, name):
                raise ParameterError(f"{MLLIB}.{name} cannot be changed after creation")
        devices(call)
        number_type(call)
        if self._prepared is not None:
            check_call(self._prepared.model, call)
        check_objects(self._purpose, call, output)
        if call.blob and (call.extract_layer or self.mltype != "classification"):
            raise ParameterError("parameters.output.logits_blob: classifications have logits only")
        return call

    def task(self, call: ParameterObject) -> Task:
        """The task that reads the outputs of such a call."""
        assert isinstance(call, TorchParameters)
        name = "features" if call.extract_layer else self.mltype
        traits = replace(self._traits, multi_label=call.multi_label)
        return TASKS.load(name)(traits)

    def forward(self, batch: Batch, call: ParameterObject) -> Outputs:
        """One pass over a batch. Raises InputError for samples that the model cannot take."""
        assert isinstance(call, TorchCall)
        if self._prepared is None:
            raise ParameterError(f"the model waits for its first training: {self._missing}")
        model = self._prepared.model
        continues = bool(batch.samples[0].meta.get(REMEMBERS))
        if continues and not hasattr(model.module, REMEMBERS):
            raise InputError("parameters.input.continuation: the model remembers nothing")
        beside = model.extractable.get(call.blob, "")
        how = Pass(
            objective=self._objective,
            devices=devices(call),
            dtype=number_type(call),
            normalise=batch.normalise,
            layer=model.extractable.get(call.extract_layer, ""),
            method=call.forward_method,
            beside=beside,
            shortens=not (call.extract_layer or beside),
            settings={**self._settings(call), REMEMBERS: continues},
        )
        try:
            if continues:
                return one_by_one(self._prepared, batch, how)
            found = run(self._prepared, batch.inputs, how)
        except RuntimeError as error:
            if not model.traced or self.failure(error) != "sample":
                raise
            first = next(iter(batch.inputs.values()))
            raise InputError(untaken(first.shape[1:], error)) from error
        # The last layer gives the result itself.
        return {**found, LOGITS: found[OUTPUT]} if call.blob and not how.beside else found

    def _settings(self, call: TorchCall) -> Mapping[str, object]:
        """What the call sets in the model and in its objective."""
        own = call.settings
        return {**own, "with_scores": True} if self._unsupervised else own

    def failure(self, error: Exception) -> Failure:
        """What a failed pass means: its memory, its device or its samples."""
        return meaning(error, self._prepared.devices() if self._prepared else set())

    def stats(self) -> ModelStats:
        """Number of its parameters; none before it is built."""
        if self._prepared is None:
            return ModelStats()
        sizes = [(p.numel(), p.requires_grad) for p in self._prepared.model.module.parameters()]
        frozen = sum(size for size, learns in sizes if not learns)
        return ModelStats(params=sum(size for size, _ in sizes), frozen_params=frozen)

    def close(self) -> None:
        """Free the model's memory; nothing can be predicted any more."""
        if self._prepared is not None:
            self._prepared.free()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def traits(classes: Sequence[str], parameters: TorchParameters) -> Traits:
    """What the tasks of a model are told of it."""
    return Traits(classes, parameters.nclasses, parameters.multi_label)


def words(repository: Repository) -> list[str]:
    """What a model of language tells: the tokens of the repository's vocabulary by their ids.

    Raises InputError for a vocabulary that cannot be read.
    """
    try:
        content = (repository.path / VOCABULARY).read_bytes()
    except OSError:
        return []
    return Vocabulary.parse(content, TAB, VOCABULARY).names()


def check_objects(purpose: str, call: TorchCall, output: OutputParameters) -> None:
    """Raises ParameterError for what only some services can do, or a detector cannot."""
    for name, (able, lacking) in ABLE.items():
        if getattr(output, name) and purpose != able:
            raise ParameterError(f"parameters.output.{name}: the service {lacking}")
    if purpose == "detection" and call.extract_layer in ("last", "final"):
        raise ParameterError(f"{MLLIB}.extract_layer: a detector has no one last layer")


def check_call(model: Model, call: TorchCall) -> None:
    """Raises ParameterError for a layer or a method that the model has not."""
    layers = model.layers
    rois = call.settings.get("rois", "")
    if rois and rois not in (able := getattr(model.module, "roi_layers", ())):
        known = ", ".join(able) or "none: the template fasterrcnn has some"
        raise ParameterError(f"parameters.output.rois: unknown layer {rois}; there is: {known}")
    some = ", ".join(layers[:MOST]) + (", ..." if len(layers) > MOST else "")
    if call.extract_layer and call.extract_layer not in layers:
        raise ParameterError(f"unknown extract layer {call.extract_layer}; there is: {some}")
    if call.blob and call.blob not in layers:
        raise ParameterError(
            f"parameters.output.logits_blob: unknown layer {call.blob}; there is: {some}"
        )
    method = call.forward_method
    if method and not (model.traced and callable(getattr(model.module, method, None))):
        raise ParameterError(f"{MLLIB}.forward_method: Method {method} not found in traced model")
