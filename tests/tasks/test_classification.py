"""The classification task: what becomes of a row of logits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.api.envelope import Json, dumps
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Sample
from ddstream.tasks import TASKS, Traits
from ddstream.tasks.classification import Classification, highest
from tests.tasks.tallies import tallied

CLASSES = ["ant", "bee", "cow"]
LOGITS = np.log(np.array([[0.2, 0.5, 0.3]], np.float32))


def decoded(task: Classification, logits: Array = LOGITS, **output: object) -> Json:
    scores = task.activate({OUTPUT: logits})
    return task.decode(scores[0], Sample("a.png", {}), OutputParameters(**output))  # type: ignore[arg-type]


@pytest.mark.promise("predict.output.best")
def test_best_bounds_the_number_of_classes_and_is_one_by_default() -> None:
    task = Classification(Traits(CLASSES))
    assert [each["cat"] for each in decoded(task)["classes"]] == ["bee"]
    assert [each["cat"] for each in decoded(task, best=2)["classes"]] == ["bee", "cow"]
    assert len(decoded(task, best=-1)["classes"]) == 3
    assert len(decoded(task, best=99)["classes"]) == 3
    assert decoded(task, best=0)["classes"] == []


def test_classes_are_sorted_and_the_last_one_is_marked() -> None:
    prediction = decoded(Classification(Traits(CLASSES)), best=3)
    assert prediction["uri"] == "a.png"
    assert prediction["loss"] == 0.0
    assert [each["prob"] for each in prediction["classes"]] == pytest.approx([0.5, 0.3, 0.2])
    assert [each.get("last") for each in prediction["classes"]] == [None, None, True]


def test_probabilities_are_floats_widened_to_doubles() -> None:
    found = decoded(Classification(), np.array([[0.3, -1.2]], np.float32))
    prob = found["classes"][0]["prob"]
    assert prob == float(np.float32(prob))


@pytest.mark.promise("predict.output.confidence_threshold")
def test_only_probabilities_strictly_above_the_threshold_are_kept() -> None:
    even = np.zeros((1, 4), np.float32)
    assert decoded(Classification(), even, best=-1, confidence_threshold=0.25)["classes"] == []
    below = decoded(Classification(), even, best=-1, confidence_threshold=0.2499)
    assert len(below["classes"]) == 4
    assert len(decoded(Classification(Traits(CLASSES)), best=-1)["classes"]) == 3


def test_a_threshold_of_zero_keeps_classes_of_no_probability() -> None:
    sure = np.array([[0.0, -1000.0]], np.float32)
    assert len(decoded(Classification(), sure, best=-1)["classes"]) == 2


@pytest.mark.promise("predict.torch.multi_label")
def test_multi_label_scores_do_not_share_one_probability() -> None:
    task = Classification(Traits(CLASSES, multi_label=True))
    found = decoded(task, np.array([[2.0, 1.0, 0.0]], np.float32), best=-1)["classes"]
    assert [each["prob"] for each in found] == pytest.approx([0.8808, 0.7311, 0.5], abs=1e-4)


@pytest.mark.promise("predict.output.regression")
def test_regression_answers_a_vector_of_the_raw_outputs() -> None:
    values = np.array([[0.25, -3.0, 7.5]], np.float32)
    found = decoded(Classification(Traits(CLASSES)), values, regression=True)
    assert found["vector"] == [
        {"val": 7.5, "cat": "cow"},
        {"val": 0.25, "cat": "ant"},
        {"last": True, "val": -3.0, "cat": "bee"},
    ]
    assert found["classes"] == []


@pytest.mark.promise("predict.output.logits_blob")
def test_the_raw_scores_of_a_layer_stand_beside_the_classes() -> None:
    task = Classification(Traits(CLASSES))
    blob = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    (row,) = task.activate({OUTPUT: LOGITS, "logits": blob})
    found = task.decode(row, Sample("a.png", {}), OutputParameters(best=1))
    assert found["logits"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert {**found, "logits": None} == {**decoded(task), "logits": None}
    measured = tallied(task, task.activate({OUTPUT: LOGITS, "logits": blob}), [1], ["acc"])
    assert measured == {"acc": 1.0}


def test_a_class_without_a_name_has_its_number() -> None:
    assert decoded(Classification(Traits(["ant"])))["classes"][0]["cat"] == "1"


def test_huge_logits_stay_finite_and_nan_becomes_null() -> None:
    huge = decoded(Classification(), np.array([[1e30, 1.0]], np.float32))
    assert huge["classes"][0]["prob"] == 1.0
    lost = decoded(Classification(), np.array([[np.nan, 1.0]], np.float32), best=2)
    assert json.loads(dumps(lost))["classes"][0]["prob"] is None


def test_extra_axes_of_one_are_flattened() -> None:
    assert Classification().activate({OUTPUT: np.zeros((2, 3, 1, 1))})[0].shape == (3,)


@given(st.lists(st.integers(0, 20), min_size=65, max_size=200), st.integers(-1, 300))
def test_the_highest_come_first_and_ties_by_index(values: list[int], best: int) -> None:
    scores = np.array(values, np.float32)
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert highest(scores, best).tolist() == expected[: best if best >= 0 else None]


def test_a_test_set_is_scored_by_its_class_ids() -> None:
    task = Classification(Traits(CLASSES))
    logits = 5 * np.eye(3, dtype=np.float32)[[0, 1, 1]]
    assert tallied(task, logits, [0, 1, 2], ["acc"]) == {"acc": pytest.approx(2 / 3)}


def test_labels_are_scored_by_rows() -> None:
    task = Classification(Traits(multi_label=True))
    logits = np.array([[5.0, -5.0], [5.0, 5.0]], np.float32)
    rows = [np.array([1.0, 0.0], np.float32), np.array([1.0, 0.0], np.float32)]
    found = tallied(task, logits, rows, task.measures)
    assert found["sensitivity"] == 1.0
    assert found["specificity"] == 0.5


def test_a_task_knows_its_measures() -> None:
    assert [Classification().knows(name) for name in ("acc-5", "kl", "l1")] == [True, False, False]
    assert Classification(Traits(multi_label=True)).knows("kl")


@pytest.mark.parametrize("name", ["classification", "regression", "features"])
def test_every_task_bears_the_name_of_its_table_line(name: str) -> None:
    assert TASKS.load(name)().name == name
