"""Chance: what a training draws follows from its seed alone."""

from __future__ import annotations

from dataclasses import replace

from ddstream.backends.torch.backend import TorchBackend
from ddstream.data import Dimensions
from ddstream.repository import Repository
from tests.backends.conftest import MakeSetup
from tests.backends.digit_sets import digits


def test_trainings_of_one_seed_drop_the_same_values(
    repository: Repository, make_setup: MakeSetup
) -> None:
    raw = {
        "template": "mlp",
        "template_params": {"layers": [8], "dropout": 0.5},
        "nclasses": 10,
        "solver": {"iterations": 4, "base_lr": 0.1},
        "net": {"batch_size": 8},
    }
    data = replace(digits(), dimensions=Dimensions(channels=1, height=8, width=8))
    told = []
    for _ in range(2):
        for file in repository.path.iterdir():
            file.unlink()
        found = list(TorchBackend.trainer(make_setup(raw)).fit(data, raw, ["acc"]))
        told.append([each.points["train_loss"] for each in found if each.points])
    assert told[0] == told[1]
