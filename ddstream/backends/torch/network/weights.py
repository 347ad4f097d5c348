"""Weight files: which one a service loads, and what is inside it."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ddstream.errors import ParameterError
from ddstream.repository import Checkpoint, Repository

State: TypeAlias = dict[str, torch.Tensor]
SUFFIXES = (".npt", ".pt", ".safetensors")


@dataclass(frozen=True, slots=True)
class Choice:
    """The weight file of a service, and what is to be said about the choice."""

    path: Path | None
    warnings: tuple[str, ...] = ()


def choose(
    repository: Repository, named: str, resume_from: str, pretrained: Path | None = None
) -> Choice:
    """The weights to load: a checkpoint, else the named file, else the newest file there is.

    A named file (of the repository, or a `pretrained` one of elsewhere) is where training starts,
    so a checkpoint that was trained from it goes before it; a named checkpoint is loaded as it is.
    Raises ParameterError for a file that is missing.
    """
    if named and pretrained:
        raise ParameterError("model.weights and parameters.mllib.pretrained name two files")
    given = _named(repository, named) if named else _given(pretrained)
    if given is not None and any(c.weights == given for c in repository.checkpoints()):
        return Choice(given)
    checkpoint = repository.select(resume_from)
    if checkpoint is not None:
        return Choice(checkpoint.weights, _overruled(given, checkpoint))
    return Choice(given or newest(repository))


def newest(repository: Repository) -> Path | None:
    """The file of weights that was changed last; the solver's files are none, nor is a link that
    leads out of the repository."""
    within = repository.path.resolve()
    found = [
        file
        for file in repository.path.iterdir()
        if file.suffix in SUFFIXES
        and not file.name.startswith((".", "solver-"))
        and file.resolve().is_relative_to(within)
    ]
    return max(found, key=lambda file: (file.stat().st_mtime_ns, file.name), default=None)


def scripted(path: Path) -> bool:
    """Whether a file is TorchScript: such an archive holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def read_script(path: Path) -> torch.jit.ScriptModule:
    """The traced model of a file, on the CPU. Raises ParameterError if it cannot be read."""
    try:
        module: torch.jit.ScriptModule = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ParameterError(_unreadable(path, error)) from error
    return module


def read_state(path: Path) -> State:
    """Tensors by name, on the CPU. Raises ParameterError for a file that holds anything else."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise ParameterError(_unreadable(path, error)) from error
    if scripted(path):
        return dict(read_script(path).state_dict())
    found = unpickled(path)
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise ParameterError(f"weights file {path.name} is no state dict: names and tensors")
    return dict(found)


def plain(content: bytes) -> Any:
    """Tensors and plain values of bytes that `torch.save` made in a process of ours."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def unpickled(path: Path) -> object:
    """The content of a file of `torch.save`, tensors and plain values only, on the CPU."""
    if scripted(path):
        # torch.load would hand it to the loader of TorchScript.
        raise ParameterError(f"weights file {path.name} is refused: it holds code")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ParameterError(
            f"weights file {path.name} is refused: it holds more than tensors, "
            "or is no file of torch.save"
        ) from error
    except (OSError, EOFError, KeyError, RuntimeError, ValueError) as error:
        raise ParameterError(_unreadable(path, error)) from error


def _named(repository: Repository, name: str) -> Path:
    path = (repository.path / name).resolve()
    if not path.is_relative_to(repository.path.resolve()):
        raise ParameterError(f"model.weights {name} is not in the repository")
    if not path.is_file():
        raise ParameterError(f"model.weights {name} does not exist in {repository.path}")
    if path.suffix not in SUFFIXES:
        raise ParameterError(f"model.weights {name} is none of: {', '.join(SUFFIXES)}")
    return repository.path / name


def _given(path: Path | None) -> Path | None:
    """Raises ParameterError for a file that is missing or of another kind."""
    if path is not None and not path.is_file():
        raise ParameterError(f"parameters.mllib.pretrained {path} does not exist")
    if path is not None and path.suffix not in SUFFIXES:
        raise ParameterError(
            f"parameters.mllib.pretrained {path.name} is none of: {', '.join(SUFFIXES)}"
        )
    return path


def _overruled(given: Path | None, checkpoint: Checkpoint) -> tuple[str, ...]:
    if given is None:
        return ()
    return (f"weights {given.name} were ignored: {checkpoint.weights.name} goes before them",)


def _unreadable(path: Path, error: Exception) -> str:
    reason = next(iter(str(error).splitlines()), "")
    # The keys and numbers that pickles fail with say nothing to anybody.
    told = reason[:200] if " " in reason else f"it is damaged, or no such file ({reason[:40]})"
    return f"weights file {path.name} cannot be read: {told}"
