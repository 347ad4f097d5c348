"""Preparing a repository: emptied, found fit to be resumed, given the weights to start from."""

from __future__ import annotations

import shutil
from pathlib import Path

from ddstream.commands.workflow.options import TrainOptions
from ddstream.commands.workflow.run_folder import CONFIG as OPTIONS
from ddstream.commands.workflow.run_folder import METRICS, RUN
from ddstream.errors import ParameterError
from ddstream.repository import BEST, CONFIG, REQUEST, Repository

_SIGNS = (CONFIG, REQUEST, BEST, OPTIONS, RUN, METRICS)
"""Files by which a folder is known to be the repository of a model."""


def emptied(options: TrainOptions) -> None:
    """Empty the repository. Raises ValueError for a folder that is none, or that has the data."""
    folder = options.folder.resolve()
    if not folder.exists() or not any(folder.iterdir()):
        return
    own = any((folder / name).exists() for name in _SIGNS)
    if not own and not Repository(folder).checkpoints():
        raise ValueError(f"--repository-override: {folder} is no repository of a model")
    for path in (*options.data, options.weights):
        if path is not None and path.resolve().is_relative_to(folder):
            raise ValueError(f"--repository-override would remove {path}")
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def resumed(folder: Path, which: str) -> int:
    """The iterations behind the checkpoint that is to be resumed. Raises ValueError for none."""
    repository = Repository(folder)
    try:
        checkpoints = repository.checkpoints() if folder.is_dir() else []
        best = repository.select("best") if which == "best" and checkpoints else None
    except ParameterError as error:
        raise ValueError(f"--resume {which}: {error.detail}") from error
    whole = [each for each in checkpoints if each.solver is not None]
    found = best or (whole[-1] if whole else None)
    if found is None or found.solver is None:
        raise ValueError(f"--resume {which}: there is no checkpoint of a training in {folder}")
    return found.iteration


def with_weights(repository: Path, weights: Path | None) -> str:
    """The name of the file to start from in the repository, where it is copied to if need be.

    Empty if the repository has checkpoints: the newest goes first.
    """
    if weights is None or Repository(repository).checkpoints():
        return ""
    target = repository / weights.name
    if weights.resolve() != target.resolve():
        shutil.copyfile(weights, target)
    return weights.name
