"""Digits on photographs: which pixel belongs to which one."""

from __future__ import annotations

import pytest

from examples.scenes import Scenes, write_scenes
from tests.learning.learner import Lesson, School

FULL, SMALL = 0.70, 0.55
"""What `meaniou` must reach: of three digits and the background, of one and the background.

Who sees the background everywhere has a fourth and a half of what share it has.
"""


@pytest.mark.timeout(3600)
@pytest.mark.promise("services.torch.segmentation", "services.input.image.segmentation")
def test_a_segformer_finds_the_pixels_of_digits(school: School) -> None:
    scenes = Scenes(train=400, test=40, side=64, digits=1, objects=1, height=(0.5, 0.9))
    if school.full:
        scenes = Scenes(train=2000, test=100, side=64, objects=2, height=(0.4, 0.7))
    train, test = write_scenes(school.folder / "scenes", scenes).masks
    learnt = school.teach(
        Lesson(
            name="masks",
            connector={
                "connector": "image",
                "width": scenes.side,
                "height": scenes.side,
                "bw": True,
                "scale": 0.0039,
                "mean": 0.5,
                "std": 0.25,
                "segmentation": True,
            },
            mllib={
                "template": "segformer",
                "nclasses": scenes.masks,
                "segmentation": True,
                "template_params": {
                    "hidden_sizes": [16, 32, 64, 96],
                    "depths": [1, 1, 1, 1],
                    "heads": [1, 1, 2, 4],
                    "decoder_hidden_size": 64,
                    "dropout": 0,
                    "drop_path": 0,
                },
            },
            training={
                "solver": {
                    "iterations": 5000,
                    "test_interval": 500,
                    "base_lr": 2e-3,
                    "solver_type": "ADAM",
                },
                "net": {"batch_size": 16},
                "distort": {"prob": 0.5},
                "noise": {"prob": 0.1},
            },
            small={"solver": {"iterations": 200, "test_interval": 200}},
            train_input={"shuffle": True, "seed": 1},
            data=[train, test],
            measures=["acc"],
        )
    )
    assert learnt.measure["meaniou"] >= (FULL if school.full else SMALL)
    told = learnt.report["measure"]["meaniou"]
    assert learnt.measure["meaniou"] == pytest.approx(told, abs=0.02)
