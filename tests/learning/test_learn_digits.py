"""Handwritten digits (scikit-learn): images of class folders."""

from __future__ import annotations

import pytest

from tests.digits import write_digits
from tests.learning.learner import Lesson, School

FULL, SMALL = 0.97, 0.80


@pytest.mark.over_kafka
@pytest.mark.timeout(1800)
def test_resnet18_learns_digits(school: School) -> None:
    size = {"train": 140, "test": 30} if school.full else {"train": 40, "test": 8}
    train, test = write_digits(school.folder, **size)
    learnt = school.teach(
        Lesson(
            name="digits",
            connector={"connector": "image", "width": 32, "height": 32, "scale": 0.0039},
            mllib={"template": "resnet18", "nclasses": 10},
            training={
                "solver": {
                    "iterations": 500,
                    "test_interval": 250,
                    "base_lr": 1e-3,
                    "solver_type": "ADAM",
                },
                "net": {"batch_size": 32},
            },
            small={"solver": {"iterations": 60, "test_interval": 60}},
            train_input={"shuffle": True, "seed": 1},
            data=[train, test],
            measures=["acc", "f1"],
        )
    )
    assert learnt.measure["acc"] >= (FULL if school.full else SMALL)
    assert learnt.measure["acc"] == pytest.approx(learnt.report["measure"]["acc"], abs=0.02)
