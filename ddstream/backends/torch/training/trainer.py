"""From a train request to a training: the model, what it goes on from, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ddstream.api.showing import Showing
from ddstream.api.torch import TorchParameters, TorchTraining
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.devices import at_hand, devices
from ddstream.backends.torch.network.architecture import ARCHITECTURE, Architecture, sized
from ddstream.backends.torch.network.model import Plan, load_model
from ddstream.backends.torch.objectives import OBJECTIVES
from ddstream.backends.torch.purpose import idle, purpose
from ddstream.backends.torch.training.checkpoints import (
    SolverState,
    going_on,
    model_config,
    read_solver,
)
from ddstream.backends.torch.training.crew import Duty
from ddstream.backends.torch.training.solvers import unused
from ddstream.backends.torch.training.training import Course, Training
from ddstream.data import Datasets, Progress
from ddstream.errors import ParameterError
from ddstream.measures.classification import check_targets
from ddstream.repository import CLASSES, Checkpoint, class_lines
from ddstream.tasks import TASKS
from ddstream.tasks.options import unmeasured
from ddstream.tasks.protocol import Traits

MLLIB = "parameters.mllib"


class TorchTrainer:
    """Trains a model of a repository.

    `warnings`, and the `history` that it goes on with, are there once `fit` has returned;
    warnings of samples that were left out once its iterations have ended.
    """

    def __init__(self, setup: Setup, ranks: Sequence[torch.device] = ()) -> None:
        """`ranks` are devices, each of a process of its own, instead of those of `setup`."""
        if setup.service_type == "unsupervised":
            raise ParameterError("an unsupervised service cannot be trained")
        self._setup = setup
        self.warnings: list[str] = []
        self.history: Mapping[str, Sequence[float]] = {}
        parameters = TorchParameters.parse(setup.mllib, MLLIB, ParameterError)
        self._devices = ranks or devices(at_hand(parameters))

    def fit(
        self,
        data: Datasets,
        raw: Mapping[str, Any],
        measures: Sequence[str],
        showing: Showing | None = None,
    ) -> Iterator[Progress]:
        """Check everything, load the model, and give the iterations that are to be run.

        Raises ParameterError for a parameter, a resumption or data that cannot be.
        """
        repository = self._setup.repository
        parameters = at_hand(TorchTraining.parse(raw, MLLIB, ParameterError))
        name = purpose(parameters, self._setup.input)
        _check_data(data, 0 if name == "language" else parameters.nclasses)
        objective = OBJECTIVES.load(name)(parameters)
        task = TASKS.load(name)(Traits(data.classes, parameters.nclasses, parameters.multi_label))
        checkpoint = going_on(repository, parameters)
        dimensions = sized(parameters, data.dimensions, crop=parameters.crop_size)
        start = checkpoint.weights if checkpoint else None
        setup = self._setup
        plan = Plan(parameters, repository, dimensions, setup.weights, start, setup.pretrained)
        model = load_model(plan)
        state = _state(checkpoint, parameters)
        fresh = state is not None and state.solver_type != parameters.solver.solver_type
        course = Course(
            parameters=parameters,
            repository=repository,
            data=data,
            model=model,
            objective=objective,
            device=self._devices[0],
            task=task,
            measures=measures or task.measures,
            showing=showing,
            duty=Duty(plan, name, parameters, self._devices) if self._devices[1:] else None,
        )
        first = checkpoint.iteration if checkpoint else 0
        training = Training(course, first, state, fresh=fresh)
        self.history = training.history
        self.warnings += [
            *parameters.unknown(MLLIB),
            *model.warnings,
            *idle(parameters, name),
            *unused(parameters.solver),
            *_single(parameters),
            *_fresh_solver(state, parameters, fresh=fresh),
            *unmeasured(measures, task),
        ]
        for name, content in _files(data, Architecture.of(parameters, dimensions)).items():
            repository.write(name, content)
        # All that can be refused is behind: another attempt at this training begins here.
        repository.reach(first)
        return self._run(training)

    def _run(self, training: Training) -> Iterator[Progress]:
        try:
            yield from training.run()
        finally:
            self.warnings += training.left_out


def _files(data: Datasets, architecture: Architecture) -> dict[str, bytes]:
    """What who loads the weights needs beside them."""
    classes = {CLASSES: class_lines(data.classes)} if data.classes else {}
    return {**classes, ARCHITECTURE: architecture.file(), **data.files}


def _check_data(data: Datasets, nclasses: int) -> None:
    if not len(data.train):
        raise ParameterError("No data found in training dataset")
    if not data.tests or not all(len(each) for each in data.tests):
        raise ParameterError("empty test dataset")
    if nclasses and data.classes:
        check_targets(np.array([len(data.classes) - 1]), nclasses)


def _state(checkpoint: Checkpoint | None, parameters: TorchTraining) -> SolverState | None:
    if checkpoint is None or checkpoint.solver is None:
        return None
    state = read_solver(checkpoint.solver)
    for name, value in model_config(parameters).items():
        if state.model.get(name) != value:
            raise ParameterError(
                f"{checkpoint.weights.name} was trained with {name} {state.model.get(name)!r}, "
                f"not {value!r}"
            )
    return state


def _single(parameters: TorchTraining) -> Iterator[str]:
    if parameters.datatype == "fp64":
        yield f"{MLLIB}.datatype fp64 is for predictions: the training computes in fp32"


def _fresh_solver(
    state: SolverState | None, parameters: TorchTraining, *, fresh: bool
) -> Iterator[str]:
    if state is not None and fresh:
        yield (
            f"{MLLIB}.solver.solver_type is {parameters.solver.solver_type}, "
            f"the checkpoint's is {state.solver_type}: the solver starts afresh"
        )
