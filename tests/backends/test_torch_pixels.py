"""Pixels on their way: from an image through the connector and a segmenter back to the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from ddstream.api.image import ImageInput
from ddstream.api.predict import OutputParameters
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Array, Batch, Datasets, Datum, Sample
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend
from tests.backends.digit_sets import DigitSet
from tests.backends.test_torch_traced import scripted

RAW = {"segmentation": True, "nclasses": 2}


class Bright(nn.Module):
    """Class 1 where the first channel is bright; it can learn how bright."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([-1.0, 1.0])[:, None, None, None] / 300
            self.conv.bias[:] = torch.tensor([100.0, -100.0]) / 100  # type: ignore[index]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.conv(images)
        return scores


@pytest.fixture
def traced(repository: Repository) -> Repository:
    """A repository with such a segmenter."""
    repository.write("net.pt", scripted(Bright()))
    return repository


def sample_of(image: Array, folder: Path, repository: Repository, **connector: Any) -> Sample:
    path = folder / "image.png"
    assert cv2.imwrite(str(path), image)
    raw = {"connector": "image", "interp": "nearest", **connector}
    (sample,) = ImageConnector(raw, repository).read(Datum(str(path), path))
    return sample


def classes(make_backend: MakeBackend, sample: Sample) -> Array:
    """The classes of the original's pixels, H x W."""
    backend, output = make_backend(RAW), OutputParameters()
    call = backend.call_parameters(RAW, output)
    task = backend.task(call)
    (row,) = task.activate(backend.forward(Batch.of([sample]), call))
    found = task.decode(row, sample, output)
    size = found["imgsize"]
    return np.asarray(found["vals"].reshape(size["height"], size["width"]))


@pytest.mark.parametrize(
    "connector",
    [
        {"width": 32, "height": 16},
        {"width": 16, "height": 16},
        {"width": -1, "height": -1},
        {"width": 32, "height": -1, "aspect_ratio_pad": True},
        {"width": -1, "height": 128, "aspect_ratio_pad": True},
        {"width": -1, "height": -1, "scale_min": 40, "scale_max": 256},
    ],
    ids=["same", "square", "whole", "padded", "padded-larger", "scaled"],
)
def test_what_is_bright_in_the_image_is_bright_in_the_answer(
    connector: dict[str, Any], traced: Repository, tmp_path: Path, make_backend: MakeBackend
) -> None:
    # Blocks of 16 pixels, which no resizing by twos and fours can blur.
    blocks = np.array([[1, 0, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]], np.uint8)[:, :4]
    image = np.kron(blocks, np.full((16, 16), 250, np.uint8))
    sample = sample_of(image, tmp_path, traced, **connector)
    assert (classes(make_backend, sample) == (image > 0)).all()


def test_what_a_crop_leaves_out_is_background(
    traced: Repository, tmp_path: Path, make_backend: MakeBackend
) -> None:
    image = np.full((64, 48), 250, np.uint8)
    sample = sample_of(image, tmp_path, traced, width=24, height=32, crop_width=12, crop_height=16)
    found = classes(make_backend, sample)
    assert found[16:48, 12:36].all()
    assert found.sum() == 32 * 24


def test_a_training_tells_every_class_and_the_best_by_their_mean_overlap(
    traced: Repository,
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)
    masks = (images[..., 0] > 127).astype(np.uint8)
    sets = [DigitSet(name, images, list(masks), varied=False) for name in ("train", "one", "two")]
    data = Datasets(sets[0], sets[1:], classes=["dark", "bright"])
    mllib = {**RAW, "solver": {"iterations": 2, "base_lr": 1e-6}, "net": {"batch_size": 4}}
    told = list(TorchTrainer(Setup(RAW, ImageInput(), traced)).fit(data, mllib, ["acc"]))
    (last,) = [each for each in told if each.measures]
    assert {"acc", "meanacc", "meaniou", "meaniou_test0", "meaniou_test1"} <= set(last.points)
    for name in ("clacc", "cliou"):
        for suffix in ("", "_test0", "_test1"):
            assert {f"{name}{suffix}_dark", f"{name}{suffix}_bright"} <= set(last.points)
    assert last.measures is not None
    overlaps = last.measures[0]["cliou"]
    assert last.points["cliou_test0_bright"] == overlaps[1]
    assert last.points["meaniou"] == pytest.approx(np.mean(overlaps))
    best = (traced.path / "best_model.txt").read_text()
    assert "meaniou" in best
