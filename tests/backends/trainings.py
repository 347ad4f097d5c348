"""Short trainings of the tiny traced model on real digits."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from ddstream.api.image import ImageInput
from ddstream.api.parameters import merged
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.data import Datasets, Progress
from ddstream.repository import Repository
from tests.backends.digit_sets import digits

RAW: dict[str, Any] = {
    "nclasses": 10,
    "solver": {"iterations": 4, "solver_type": "SGD", "base_lr": 0.05},
    "net": {"batch_size": 8},
}


def trainer_of(repository: Repository, over: Mapping[str, Any] | None = None) -> TorchTrainer:
    """The trainer of a repository."""
    return TorchTrainer(Setup(merged(RAW, over or {}), ImageInput(), repository))


def begun(
    repository: Repository,
    over: Mapping[str, Any] | None = None,
    data: Datasets | None = None,
    measures: Sequence[str] = (),
) -> Generator[Progress, None, None]:
    """A training that is about to begin; `over` goes on top of RAW."""
    raw = merged(RAW, over or {})
    progress = trainer_of(repository, over).fit(data or digits(), raw, measures)
    return cast("Generator[Progress, None, None]", progress)


def trained(
    repository: Repository,
    over: Mapping[str, Any] | None = None,
    data: Datasets | None = None,
    measures: Sequence[str] = (),
) -> list[Progress]:
    """The iterations of a whole training, words within tests left out."""
    told = begun(repository, over, data, measures)
    return [each for each in told if each.points]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a traced checkpoint."""
    return dict(torch.jit.load(path).state_dict())  # type: ignore[no-untyped-call]


def names(repository: Repository) -> set[str]:
    """The files of a repository."""
    return {file.name for file in repository.path.iterdir()}
