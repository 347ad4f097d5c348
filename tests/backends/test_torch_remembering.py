"""Losses that depend on the batches before: a break changes nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddstream.backends.protocol import Setup
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.connectors.images.connector import ImageConnector
from ddstream.repository import Repository
from examples.scenes import SceneFiles, Scenes, write_scenes

SCENES = Scenes(train=12, test=2, side=32, digits=1)
INPUT = {"connector": "image", "width": 32, "height": 32, "segmentation": True}
MLLIB: dict[str, Any] = {
    "template": "segformer",
    "template_params": {
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [8, 8, 8, 8],
        "heads": [1, 1, 1, 1],
        "decoder_hidden_size": 8,
    },
    "nclasses": SCENES.masks,
    "net": {"batch_size": 4},
}


def losses(folder: Path, scenes: SceneFiles, iterations: int, *, resume: bool = False) -> list[Any]:
    raw = {
        **MLLIB,
        "loss": "dice_weighted_all",
        "solver": {"iterations": iterations, "solver_type": "SGD"},
        "resume": resume,
    }
    repository = Repository.open(folder, create=True)
    connector = ImageConnector({**INPUT, "seed": 1}, repository)
    data = connector.datasets(scenes.masks, raw)
    setup = Setup(raw, connector.parameters, repository, data.dimensions)
    told = TorchTrainer(setup).fit(data, raw, ["meaniou"])
    return [each.points["train_loss"] for each in told if each.points]


@pytest.mark.promise("train.torch.resume")
def test_the_running_weights_of_classes_survive_a_break(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", SCENES)
    whole = losses(tmp_path / "whole", scenes, 7)
    first = losses(tmp_path / "broken", scenes, 4)
    rest = losses(tmp_path / "broken", scenes, 7, resume=True)
    assert [*first, *rest] == whole
