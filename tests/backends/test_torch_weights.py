"""Weights: which file is loaded, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from ddstream.backends.torch.backend import TorchBackend
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend

TWO: dict[str, Any] = {"template": "resnet18", "nclasses": 2}
Save = Callable[..., Path]


@pytest.fixture
def save(repository: Repository) -> Save:
    """Saves a resnet18 whose first bias of the head is `mark`, by which it is known again."""

    def state(mark: float, name: str, classes: int = 2) -> Path:
        with torch.device("meta"):
            model = resnet18(weights=None, num_classes=classes)
        weights = {n: torch.zeros(v.shape, dtype=v.dtype) for n, v in model.state_dict().items()}
        weights["fc.bias"][0] = mark
        path = repository.path / name
        if name.endswith(".safetensors"):
            save_file(weights, path)
        else:
            torch.save(weights, path)
        return path

    return state


def mark(backend: TorchBackend) -> float:
    assert backend._prepared is not None
    return float(backend._prepared.model.module.state_dict()["fc.bias"][0])


@pytest.mark.parametrize("name", ["a.npt", "a.pt", "a.safetensors"])
def test_each_kind_of_state_dict_is_loaded(
    save: Save, make_backend: MakeBackend, name: str
) -> None:
    save(7.0, name)
    backend = make_backend(TWO)
    assert mark(backend) == 7.0
    assert backend.trained


@pytest.mark.promise("services.model.weights")
def test_named_weights_go_before_newer_files(save: Save, make_backend: MakeBackend) -> None:
    save(1.0, "old.npt")
    newer = save(2.0, "new.npt")
    os.utime(newer, (2e9, 2e9))
    assert mark(make_backend(TWO)) == 2.0
    assert mark(make_backend(TWO, weights="old.npt")) == 1.0


@pytest.mark.promise("services.torch.resume_from")
def test_the_best_checkpoint_is_loaded_unless_the_latest_is_asked_for(
    repository: Repository, save: Save, make_backend: MakeBackend
) -> None:
    save(1.0, "checkpoint-1.npt")
    save(2.0, "checkpoint-2.npt")
    with pytest.raises(ParameterError, match="could not open best model file"):
        make_backend({**TWO, "resume_from": "best"})
    assert mark(make_backend(TWO)) == 2.0
    repository.write("best_model.txt", b"iteration:1\nacc:0.9\n")
    assert mark(make_backend({**TWO, "resume_from": "best"})) == 1.0
    assert mark(make_backend({**TWO, "resume_from": "latest"})) == 2.0
    with pytest.raises(ParameterError, match="resume_from must be one of: latest, best"):
        make_backend({**TWO, "resume_from": "first"})


def test_a_checkpoint_goes_before_the_weights_it_came_from(
    save: Save, make_backend: MakeBackend
) -> None:
    save(1.0, "public.npt")
    save(2.0, "checkpoint-5.npt")
    save(3.0, "checkpoint-6.npt")
    backend = make_backend(TWO, weights="public.npt")
    assert mark(backend) == 3.0
    assert backend.warnings == [
        "weights public.npt were ignored: checkpoint-6.npt goes before them"
    ]
    assert mark(make_backend(TWO, weights="checkpoint-5.npt")) == 2.0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("../a.npt", "is not in the repository"),
        ("/etc/hosts", "is not in the repository"),
        ("missing.npt", "does not exist"),
        ("notes.txt", "is none of"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    repository: Repository, make_backend: MakeBackend, name: str, text: str
) -> None:
    (repository.path / "notes.txt").write_text("no weights")
    (repository.path.parent / "a.npt").write_bytes(b"")
    with pytest.raises(ParameterError, match=text):
        make_backend(TWO, weights=name)


def test_a_link_out_of_the_repository_is_refused(
    repository: Repository, make_backend: MakeBackend, tmp_path: Path
) -> None:
    (tmp_path / "far.npt").write_bytes(b"x")
    (repository.path / "near.npt").symlink_to(tmp_path / "far.npt")
    with pytest.raises(ParameterError, match="is not in the repository"):
        make_backend(TWO, weights="near.npt")


def test_weights_of_another_model_are_refused_with_the_first_names(
    save: Save, make_backend: MakeBackend
) -> None:
    save(1.0, "ten.npt", classes=10)
    text = r"fc\.weight is \[10, 512\] in the file and \[2, 512\] in the model"
    with pytest.raises(ParameterError, match=text):
        make_backend(TWO)
    with pytest.raises(ParameterError, match=r"is missing in the file and \[64.* and \d+ more"):
        make_backend({"template": "resnet34", "nclasses": 10, "finetuning": False})


@pytest.mark.promise("services.torch.finetuning")
def test_finetuning_replaces_the_head_that_does_not_fit(
    save: Save, make_backend: MakeBackend
) -> None:
    save(1.0, "ten.npt", classes=10)
    backend = make_backend({**TWO, "finetuning": True})
    assert backend._prepared is not None
    module = backend._prepared.model.module
    assert not module.get_parameter("conv1.weight").any()
    assert module.get_parameter("fc.weight").shape == (2, 512)
    assert backend.warnings == ["finetuning: not loaded from ten.npt: fc.weight, fc.bias"]
    assert not backend.trained


def test_finetuning_needs_something_that_fits(
    repository: Repository, make_backend: MakeBackend
) -> None:
    torch.save({"other": torch.zeros(3)}, repository.path / "other.npt")
    with pytest.raises(ParameterError, match="do not fit"):
        make_backend({**TWO, "finetuning": True})


class Malice:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("pwned",))


def test_a_pickle_with_code_is_refused_and_not_run(
    repository: Repository, make_backend: MakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.path)
    torch.save({"fc.bias": Malice()}, "evil.pt")
    with pytest.raises(ParameterError, match=r"evil\.pt is refused: it holds more than tensors"):
        make_backend(TWO)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("name", ["a.npt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world, no tensors here", b"PK\x03\x04cut"])
def test_a_broken_file_is_refused(
    repository: Repository, make_backend: MakeBackend, name: str, content: bytes
) -> None:
    repository.write(name, content)
    with pytest.raises(ParameterError, match=r"weights file a\..* (cannot be read|is refused)"):
        make_backend(TWO)


def test_something_else_than_a_state_dict_is_refused(
    repository: Repository, make_backend: MakeBackend
) -> None:
    torch.save({"epoch": 3}, repository.path / "a.npt")
    with pytest.raises(ParameterError, match="is no state dict"):
        make_backend(TWO)


def test_a_service_needs_a_template_or_a_traced_file(save: Save, make_backend: MakeBackend) -> None:
    text = "Use of libtorch backend needs either: traced net, protofile or native template"
    with pytest.raises(ParameterError, match=text):
        make_backend({"nclasses": 2})
    save(1.0, "a.pt")
    with pytest.raises(ParameterError, match=text):
        make_backend({"nclasses": 2})


@pytest.mark.usefixtures("traced")
def test_a_template_beside_a_traced_file_is_refused(make_backend: MakeBackend) -> None:
    with pytest.raises(ParameterError, match="Only one of these must be provided: traced net"):
        make_backend(TWO)
    with pytest.raises(ParameterError, match=r"move the weights to a \.npt file"):
        make_backend({**TWO, "finetuning": True})
    with pytest.raises(ParameterError, match="traced net needs nclasses or ntargets"):
        make_backend({"finetuning": True})


@pytest.mark.promise("services.torch.template")
def test_an_unknown_template_is_refused_with_those_that_exist(make_backend: MakeBackend) -> None:
    text = r"invalid torch model template resnet19; there is: resnet18, resnet34"
    with pytest.raises(ParameterError, match=text):
        make_backend({"template": "resnet19"})
