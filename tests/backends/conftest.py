"""What the tests of backends share: repositories, setups, tiny models and one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch

from ddstream.api.image import ImageInput
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.backend import TorchBackend
from ddstream.repository import Repository
from tests.backends.digit_sets import TinyNet

MakeSetup: TypeAlias = Callable[..., Setup]
MakeBackend: TypeAlias = Callable[..., TorchBackend]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # Tiny models: threads that wait for each other cost more than they give.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository."""
    return Repository.open(tmp_path / "model", create=True)


@pytest.fixture
def make_setup(repository: Repository) -> MakeSetup:
    """Makes setups on the repository from raw `parameters.mllib`."""

    def make(mllib: Mapping[str, Any], **members: Any) -> Setup:
        return Setup(mllib, ImageInput(), repository, **members)

    return make


@pytest.fixture
def make_backend(make_setup: MakeSetup) -> MakeBackend:
    """Loads backends on the repository from raw `parameters.mllib`."""

    def make(mllib: Mapping[str, Any], **members: Any) -> TorchBackend:
        return TorchBackend(make_setup(mllib, **members))

    return make


@pytest.fixture(scope="session")
def traced_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file of a small classifier of 10 classes."""
    path = tmp_path_factory.mktemp("traced") / "tiny.pt"
    torch.manual_seed(0)
    with pytest.warns(FutureWarning, match="deprecated"):
        path.write_bytes(torch.jit.script(TinyNet()).save_to_buffer())  # type: ignore[no-untyped-call]
    return path


@pytest.fixture
def traced(repository: Repository, traced_file: Path) -> Path:
    """The TorchScript file, in the repository."""
    return repository.write("tiny.pt", traced_file.read_bytes())
