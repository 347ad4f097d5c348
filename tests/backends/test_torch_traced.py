"""Traced models: methods of their own, the compiler's options, and weights from elsewhere."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from ddstream.backends.torch.backend import TorchBackend
from ddstream.data import Batch, Dimensions, Normalise, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend, MakeSetup
from tests.backends.digit_sets import digits
from tests.backends.trainings import trained

TWO = {"template": "resnet18", "nclasses": 2}


class Doubled(nn.Module):
    """Gives the mean of each channel, or with `twice` its double."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))

    @torch.jit.export
    def twice(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * self.forward(images)


def scripted(module: nn.Module) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        content: bytes = torch.jit.script(module).save_to_buffer()  # type: ignore[no-untyped-call]
    return content


def predicted(backend: TorchBackend, **mllib: object) -> list[float]:
    image = np.full((4, 4, 3), 10, np.uint8)
    batch = Batch.of([Sample("a", {"image": image}, normalise=Normalise())])
    raw = {"nclasses": 3, **mllib}
    found = backend.forward(batch, backend.call_parameters(raw))["output"]
    return [float(value) for value in found[0]]


@pytest.mark.promise("predict.torch.forward_method")
def test_a_traced_model_predicts_by_a_method_of_its_own(
    repository: Repository, make_backend: MakeBackend
) -> None:
    repository.write("net.pt", scripted(Doubled()))
    backend = make_backend({"nclasses": 3})
    assert predicted(backend) == [10, 10, 10]
    assert predicted(backend, forward_method="twice") == [20, 20, 20]
    with pytest.raises(ParameterError, match="Method thrice not found in traced model"):
        predicted(backend, forward_method="thrice")


def test_a_template_has_no_methods_of_its_own(make_backend: MakeBackend) -> None:
    with pytest.raises(ParameterError, match="Method forward not found in traced model"):
        make_backend({**TWO, "forward_method": "forward"})


@pytest.mark.promise("services.torch.jit_compiler_params")
def test_the_compiler_specialises_as_often_as_it_is_told(
    repository: Repository, make_backend: MakeBackend
) -> None:
    repository.write("net.pt", scripted(Doubled()))
    before = torch.jit.set_fusion_strategy([("STATIC", 1), ("DYNAMIC", 1)])
    try:
        make_backend({"nclasses": 3, "jit_compiler_params": {"fusion_static": 4}})
        told = torch.jit.set_fusion_strategy([("STATIC", 1), ("DYNAMIC", 1)])
        assert sorted(told) == [("DYNAMIC", 10), ("STATIC", 4)]
        with pytest.raises(ParameterError, match="fusion_dynamic"):
            make_backend({"nclasses": 3, "jit_compiler_params": {"fusion_dynamic": -1}})
    finally:
        torch.jit.set_fusion_strategy(before)


@pytest.fixture
def backbone(repository: Repository) -> bytes:
    """A traced net of images that gives eight numbers for each."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    content = scripted(net)
    repository.write("net.pt", content)
    return content


@pytest.mark.promise("services.torch.freeze_traced")
@pytest.mark.parametrize("frozen", [True, False])
def test_a_traced_net_of_images_learns_behind_a_head_of_ours(
    repository: Repository, make_setup: MakeSetup, backbone: bytes, frozen: bool
) -> None:
    raw: dict[str, Any] = {
        "nclasses": 10,
        "finetuning": True,
        "freeze_traced": frozen,
        "solver": {"iterations": 3, "base_lr": 0.1},
        "net": {"batch_size": 8},
    }
    data = replace(digits(), dimensions=Dimensions(channels=1, height=8, width=8))
    setup = make_setup(raw, dimensions=data.dimensions)
    found = list(TorchBackend.trainer(setup).fit(data, raw, ["acc"]))
    assert found[-1].iteration == 3
    files = {file.name for file in repository.path.iterdir()}
    assert {"checkpoint-3.pt", "checkpoint-3.ptw"} <= files
    again = TorchBackend(setup)
    assert again.trained
    assert again.stats().frozen_params == (80 if frozen else 0)
    before, after = (
        torch.jit.load(io.BytesIO(each)).state_dict()  # type: ignore[no-untyped-call]
        for each in (backbone, (repository.path / "checkpoint-3.pt").read_bytes())
    )
    assert torch.equal(before["0.weight"], after["0.weight"]) == frozen


def test_a_head_needs_samples_of_one_size_or_is_told_its_width(
    make_backend: MakeBackend, backbone: bytes
) -> None:
    raw = {"nclasses": 2, "finetuning": True}
    with pytest.raises(ParameterError, match="set width and height, or embedding_size"):
        make_backend(raw)
    with pytest.raises(ParameterError, match="takes no samples of 3x8x8"):
        make_backend(raw, dimensions=Dimensions(channels=3, height=8, width=8))
    assert make_backend({**raw, "embedding_size": 8}).stats().params == 80 + 18


@pytest.mark.parametrize("name", ["public.pt", "public.safetensors", "public.npt"])
def test_weights_may_come_from_a_file_of_anywhere(
    tmp_path: Path, make_backend: MakeBackend, name: str
) -> None:
    state = {n: torch.ones_like(v) for n, v in resnet18(num_classes=2).state_dict().items()}
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    backend = make_backend(TWO, pretrained=path)
    assert backend.trained
    assert backend._prepared is not None
    assert backend._prepared.model.module.get_parameter("fc.bias").tolist() == [1, 1]
    with pytest.raises(ParameterError, match="name two files"):
        make_backend(TWO, pretrained=path, weights=name)
    with pytest.raises(ParameterError, match=r"fc\.weight is "):
        make_backend({**TWO, "nclasses": 3}, pretrained=path)
    assert any("fc.bias" in each for each in finetuned(make_backend, path))


def finetuned(make_backend: MakeBackend, path: Path) -> list[str]:
    return list(make_backend({**TWO, "nclasses": 3, "finetuning": True}, pretrained=path).warnings)


def test_pretrained_weights_must_be_there(tmp_path: Path, make_backend: MakeBackend) -> None:
    with pytest.raises(ParameterError, match="does not exist"):
        make_backend(TWO, pretrained=tmp_path / "gone.pt")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ParameterError, match=r"notes.txt is none of: \.npt"):
        make_backend(TWO, pretrained=tmp_path / "notes.txt")


class Lone(nn.Module):
    """Was traced with one image, and takes no more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layer(images.mean((2, 3)).view(1, 3))
        return scores


def test_a_traced_net_that_cannot_take_a_batch_is_bad_data_for_its_training(
    repository: Repository,
) -> None:
    repository.write("lone.pt", scripted(Lone()))
    with pytest.raises(InputError, match="the traced net takes no samples of 8x"):
        trained(repository)
