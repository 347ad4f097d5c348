"""The regression task."""

from __future__ import annotations

import numpy as np
import pytest

from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Sample
from ddstream.tasks import Traits
from ddstream.tasks.regression import Regression
from tests.tasks.tallies import tallied


def test_all_targets_come_by_value_with_their_names() -> None:
    task = Regression(Traits(["x"]))
    scores = task.activate({OUTPUT: np.array([[0.5, 2.5]], np.float32)})
    found = task.decode(scores[0], Sample("a.png", {}), OutputParameters(best=1))
    assert found == {
        "uri": "a.png",
        "loss": 0.0,
        "classes": [],
        "vector": [{"val": 2.5, "cat": "1"}, {"last": True, "val": 0.5, "cat": "x"}],
    }


def test_a_test_set_is_scored_by_vectors_or_by_numbers() -> None:
    values = np.array([[1.0], [3.0]], np.float32)
    vectors = [np.array([0.0], np.float32), np.array([0.0], np.float32)]
    assert tallied(Regression(), values, vectors, ["eucll"]) == {"eucll": pytest.approx(2.0)}
    assert tallied(Regression(), values, [0, 0], ["eucll"]) == {"eucll": pytest.approx(2.0)}
