"""Checkpoints: what a training writes, which one it goes on from, which ones it removes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.network.head import Headed
from ddstream.backends.torch.network.weights import unpickled
from ddstream.errors import ParameterError
from ddstream.repository import HEAD, Checkpoint, Repository

NEEDS_SOLVER = "resuming a model requires a solverstate (solver-xxx.pt) file in model repository"
NEEDS_RESUME = (
    "a solverstate (solver-xxx.pt) file is present in repo, dede requires a resume argument "
    "for training, otherwise delete existing training state files (with clear=lib) to cleanup "
    "the model repository"
)


@dataclass(frozen=True, slots=True)
class SolverState:
    """What goes on after a break, beside the weights: the content of `solver-<iteration>.pt`.

    `model` is the configuration that rebuilds the model. `batches` were taken of epochs of
    `per_epoch` batches whose order `seed` gives. `elapsed_ms` is the time trained so far.
    """

    run: str
    """The training that wrote it, through all its attempts; empty outside of a job."""
    solver_type: str
    optimizer: Mapping[str, Any]
    followers: Mapping[str, Any]
    """Of slow weights, their average (the checkpoint's own weights are that, then), a scaler, and
    an objective that remembers."""
    model: Mapping[str, Any]
    batches: int
    per_epoch: int
    seed: int
    elapsed_ms: float
    train_loss: float
    chance: Mapping[str, Any]
    history: Mapping[str, torch.Tensor]
    tested: Mapping[str, float]
    """The points of the last test."""
    complete: bool
    """The test that is due after this iteration, if one is, has been made."""
    best: Sequence[Sequence[Any] | None]
    written: Sequence[int]
    """Iterations of the checkpoints that this training wrote and did not remove, this one too."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors, so that it is read without running code."""
        return {name: getattr(self, name) for name in self.__slots__}


def model_config(parameters: TorchTraining) -> dict[str, Any]:
    """The configuration that rebuilds the model of a training."""
    names = ("template", "template_params", "nclasses", "ntargets", "multi_label")
    return {name: getattr(parameters, name) for name in names}


def going_on(repository: Repository, parameters: TorchTraining) -> Checkpoint | None:
    """The checkpoint that a training goes on from; None for a new one (contract 5.5).

    A later attempt at the same training goes on from where that is, whatever the request says.
    Raises ParameterError if `resume` and what lies in the repository contradict each other.
    """
    if (reached := repository.reached) is not None:
        return _reached(repository, reached)
    kept = any(repository.path.glob("solver-*.pt"))
    if not parameters.resume:
        if kept:
            raise ParameterError(NEEDS_RESUME)
        return None
    if parameters.resume_from == "best":
        best = repository.select("best")
        if best is None or best.solver is None:
            raise ParameterError("could not find best solver state: " + NEEDS_SOLVER)
        return best
    complete = [point for point in repository.checkpoints() if point.solver is not None]
    if not complete:
        raise ParameterError(NEEDS_SOLVER)
    return complete[-1]


def _reached(repository: Repository, iteration: int) -> Checkpoint | None:
    if iteration == 0:
        # It began without any: what is here now was not finished, and must not be begun with.
        for file in repository.path.glob("solver-*.pt"):
            number = file.stem.removeprefix("solver-")
            if number.isdecimal():
                remove_checkpoint(repository, int(number))
        return None
    for point in repository.checkpoints():
        if point.iteration == iteration and point.solver is not None:
            return point
    raise ParameterError(f"checkpoint {iteration} of this training is gone")


def read_solver(path: Path) -> SolverState:
    """The kept state of a solver. Raises ParameterError for a file that holds something else."""
    found = unpickled(path)
    if not isinstance(found, dict) or set(found) != set(SolverState.__slots__):
        raise ParameterError(f"{path.name} is no state of a solver")
    return SolverState(**found)


def write_checkpoint(
    repository: Repository, iteration: int, module: nn.Module, state: SolverState
) -> None:
    """Write weights and solver of an iteration, each atomically, then note that it is complete."""
    # The weights come after: where they are, their solver is.
    repository.write(f"solver-{iteration}.pt", _saved(state.to_dict()))
    if isinstance(module, Headed):
        repository.write(f"checkpoint-{iteration}{HEAD}", _saved(module.head.state_dict()))
        module = module.traced
    if isinstance(module, torch.jit.ScriptModule):
        repository.write(f"checkpoint-{iteration}.pt", module.save_to_buffer())
    else:
        repository.write(f"checkpoint-{iteration}.npt", _saved(module.state_dict()))
    repository.reach(iteration)


def remove_checkpoint(repository: Repository, iteration: int) -> None:
    """Remove weights and solver of an iteration."""
    weights = (f"checkpoint-{iteration}{suffix}" for suffix in (".npt", ".pt", HEAD))
    repository.remove([*weights, f"solver-{iteration}.pt"])


def _saved(content: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
