"""Digits on photographs: which ones there are, and where; the quick form teaches yolox alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from examples.scenes import Scenes, write_scenes
from tests.learning.learner import Lesson, School

FULL, SMALL = 0.80, 0.40
"""What `map-50` must reach: of three digits, or in the quick form of one after little training."""
QUICK = "yolox"
DETECTORS: Mapping[str, Mapping[str, Any]] = {
    "yolox": {
        "options": {"width": 0.125},
        "solver": {"base_lr": 4e-3, "iterations": 4000, "test_interval": 500},
    },
    "retinanet": {
        "options": {"backbone": "resnet18", "anchor_sizes": [16, 24, 32, 48, 64]},
        "solver": {"base_lr": 3e-4, "iterations": 3000, "test_interval": 500},
    },
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "detector" in metafunc.fixturenames:
        full = metafunc.config.getoption("--full")
        metafunc.parametrize("detector", list(DETECTORS) if full else [QUICK])


@pytest.mark.timeout(3600)
@pytest.mark.promise("templates.yolox", "services.input.image.bbox", "train.input.image.bbox")
def test_a_detector_finds_digits(school: School, detector: str) -> None:
    scenes = Scenes(train=400, test=40, side=64, digits=1, objects=2, height=(0.4, 0.7))
    if school.full:
        scenes = Scenes(train=2000, test=100, side=64, objects=2, height=(0.35, 0.6))
    train, test = write_scenes(school.folder / "scenes", scenes).boxes
    wanted = DETECTORS[detector]
    learnt = school.teach(
        Lesson(
            name=detector,
            connector={
                "connector": "image",
                "width": scenes.side,
                "height": scenes.side,
                "bw": True,
                "rgb": True,
                "scale": 0.0039,
                "mean": 0.5,
                "std": 0.25,
                "bbox": True,
            },
            mllib={
                "template": detector,
                "template_params": wanted["options"],
                "nclasses": scenes.boxes,
            },
            training={
                "solver": {"solver_type": "ADAM", "lr_policy": "cosine", **wanted["solver"]},
                "net": {"batch_size": 8, "test_batch_size": 20},
            },
            small={"solver": {"iterations": 160, "test_interval": 160}},
            train_input={"shuffle": True, "seed": 1},
            data=[train, test],
            measures=["map-50"],
        )
    )
    assert learnt.measure["map-50"] >= (FULL if school.full else SMALL)
    assert learnt.measure["map-50"] == pytest.approx(learnt.report["measure"]["map-50"], abs=0.02)
    assert learnt.report["measure"]["train_loss"] > 0
