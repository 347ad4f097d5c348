"""Real digits on disk, and trainings of them."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ddstream.api.parameters import merged
from ddstream.api.service import Parameters
from ddstream.engine.jobs import Jobs
from ddstream.engine.training import TrainingSpec
from tests.digits import write_digits

PARAMETERS: dict[str, Any] = {
    "input": {"connector": "image", "width": 32, "height": 32, "rgb": True, "scale": 1 / 255},
    "mllib": {
        "template": "resnet18",
        "nclasses": 10,
        "solver": {"iterations": 6, "base_lr": 0.01, "test_interval": 3},
        "net": {"batch_size": 8},
    },
    "output": {"measure": ["acc"]},
}
ENDLESS = {"mllib": {"solver": {"iterations": 1_000_000, "test_interval": 1_000_000}}}

MakeSpec = Callable[..., TrainingSpec]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a training set of 100 digits and a test set of 20."""
    return write_digits(tmp_path_factory.mktemp("digits"), train=10, test=2)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty model repository."""
    path = tmp_path / "repository"
    path.mkdir()
    return path


@pytest.fixture
def spec(digits: tuple[Path, Path], repository: Path) -> MakeSpec:
    """Makes specs of short trainings; `over` goes on top of the parameters."""

    def make(over: dict[str, Any] | None = None, **members: Any) -> TrainingSpec:
        parameters = Parameters(**merged(copy.deepcopy(PARAMETERS), over or {}))
        members = {
            "service": "digits",
            "number": 1,
            "library": "torch",
            "repository": str(repository),
            "data": [str(folder) for folder in digits],
            **members,
        }
        return TrainingSpec(parameters=parameters, **members)

    return make


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    """Jobs without an engine."""
    async with Jobs() as jobs:
        yield jobs
