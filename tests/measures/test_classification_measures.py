"""Measures of classifiers against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ddstream.data import Array
from ddstream.errors import ParameterError
from ddstream.measures.classification import compute, knows

NAMES = ["ant", "bee", "cow", "dog"]


@pytest.fixture
def scored() -> tuple[Array, Array]:
    """200 softmax rows over four classes that are right more often than not."""
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)) + 1.5 * np.eye(4)[targets]
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True), targets


@pytest.fixture
def binary() -> tuple[Array, Array]:
    """300 rows of two classes, unbalanced, with many ties."""
    rng = np.random.default_rng(4)
    targets = (rng.random(300) < 0.3).astype(np.int64)
    second = np.clip(0.4 * targets + 0.6 * rng.random(300), 0, 1).round(1)
    return np.stack([1 - second, second], axis=1), targets


@pytest.mark.promise("measures.acc")
def test_acc_is_the_share_of_right_estimates(scored: tuple[Array, Array]) -> None:
    scores, targets = scored
    expected = metrics.accuracy_score(targets, scores.argmax(axis=1))
    assert compute(["acc"], scores, targets) == {"acc": pytest.approx(expected)}


@pytest.mark.promise("measures.acc-k")
@pytest.mark.parametrize("k", [2, 3])
def test_acc_k_looks_among_the_k_highest(scored: tuple[Array, Array], k: int) -> None:
    scores, targets = scored
    expected = metrics.top_k_accuracy_score(targets, scores, k=k)
    assert compute([f"acc-{k}"], scores, targets) == {f"acc-{k}": pytest.approx(expected)}


def test_acc_k_of_more_classes_than_there_are_is_wrong(scored: tuple[Array, Array]) -> None:
    assert compute(["acc-5"], *scored) == {"acc-5": 0.0}


def test_acc_k_needs_a_whole_number(scored: tuple[Array, Array]) -> None:
    with pytest.raises(ParameterError, match=r"acc-0\.5"):
        compute(["acc-0.5"], *scored)


@pytest.mark.promise("measures.f1")
def test_f1_comes_with_precision_recall_and_accp(scored: tuple[Array, Array]) -> None:
    scores, targets = scored
    guess = scores.argmax(axis=1)
    found = compute(["f1"], scores, targets)
    assert found == {
        "f1": pytest.approx(metrics.f1_score(targets, guess, average="macro")),
        "precision": pytest.approx(metrics.precision_score(targets, guess, average="macro")),
        "recall": pytest.approx(metrics.recall_score(targets, guess, average="macro")),
        "accp": pytest.approx(metrics.accuracy_score(targets, guess)),
    }


def test_f1full_lists_each_class(scored: tuple[Array, Array]) -> None:
    scores, targets = scored
    guess = scores.argmax(axis=1)
    found = compute(["f1full"], scores, targets, NAMES)
    assert found["labels"] == NAMES
    assert found["f1s"] == pytest.approx(metrics.f1_score(targets, guess, average=None))
    assert found["recalls"] == pytest.approx(metrics.recall_score(targets, guess, average=None))
    assert found["f1"] == pytest.approx(np.mean(found["f1s"]))


@pytest.mark.promise("measures.cmdiag")
def test_cmdiag_is_the_recall_of_each_class(scored: tuple[Array, Array]) -> None:
    scores, targets = scored
    matrix = metrics.confusion_matrix(targets, scores.argmax(axis=1), normalize="true")
    found = compute(["f1", "cmdiag"], scores, targets, NAMES)
    assert found["cmdiag"] == pytest.approx(np.diag(matrix))
    assert found["labels"] == NAMES


@pytest.mark.promise("measures.cmfull")
def test_cmfull_tells_what_each_class_was_taken_for(scored: tuple[Array, Array]) -> None:
    scores, targets = scored
    matrix = metrics.confusion_matrix(targets, scores.argmax(axis=1), normalize="true")
    found = compute(["f1", "cmfull"], scores, targets, NAMES)["cmfull"]
    assert [list(entry) for entry in found] == [[name] for name in NAMES]
    for row, name, entry in zip(matrix, NAMES, found, strict=True):
        assert entry[name] == pytest.approx(row)


@pytest.mark.promise("measures.mcll")
def test_mcll_is_the_log_loss(scored: tuple[Array, Array]) -> None:
    scores, targets = scored
    expected = metrics.log_loss(targets, scores)
    assert compute(["mcll"], scores, targets) == {"mcll": pytest.approx(expected)}


def test_mcll_of_a_sure_error_is_infinite() -> None:
    found = compute(["mcll"], np.array([[1.0, 0.0]]), np.array([1]))
    assert found == {"mcll": float("inf")}


@pytest.mark.promise("measures.auc")
def test_auc_counts_ties_one_half(binary: tuple[Array, Array]) -> None:
    scores, targets = binary
    expected = metrics.roc_auc_score(targets, scores[:, 1])
    assert compute(["auc"], scores, targets) == {"auc": pytest.approx(expected)}


def test_auc_of_many_classes_is_each_against_the_others(scored: tuple[Array, Array]) -> None:
    scores, targets = scored
    expected = metrics.roc_auc_score(targets, scores, multi_class="ovr")
    assert compute(["auc"], scores, targets) == {"auc": pytest.approx(expected)}


def test_auc_of_one_class_is_one() -> None:
    assert compute(["auc"], np.array([[0.5, 0.5]] * 3), np.zeros(3, np.int64)) == {"auc": 1.0}


@pytest.mark.promise("measures.mcc")
def test_mcc_of_two_and_of_many_classes(
    binary: tuple[Array, Array], scored: tuple[Array, Array]
) -> None:
    for scores, targets in (binary, scored):
        expected = metrics.matthews_corrcoef(targets, scores.argmax(axis=1))
        assert compute(["mcc"], scores, targets) == {"mcc": pytest.approx(expected)}


def test_mcc_without_spread_is_one() -> None:
    assert compute(["mcc"], np.eye(2)[[0, 0]], np.array([0, 0])) == {"mcc": 1.0}


def test_gini_of_two_classes_is_twice_the_auc_less_one() -> None:
    rng = np.random.default_rng(5)
    targets = rng.integers(0, 2, 100)
    second = rng.random(100)
    area = metrics.roc_auc_score(targets, second)
    found = compute(["gini"], np.stack([1 - second, second], axis=1), targets)["gini"]
    assert found == pytest.approx(2 * area - 1, abs=1e-9)


@pytest.mark.promise("measures.raw")
def test_raw_names_each_sample() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], np.float32)
    found = compute(["raw"], scores, np.array([0, 1]), ["ant", "bee"])["raw"]
    assert found["truths"] == ["ant", "bee"]
    assert found["estimations"] == ["ant", "2"]
    assert found["confidences"] == pytest.approx([0.7, 0.6])


def test_a_class_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"target class has id 2 is higher .* classes 2"):
        compute(["acc"], np.ones((1, 2)), np.array([2]))
    with pytest.raises(ParameterError, match="negative supervised discrete target"):
        compute(["acc"], np.ones((1, 2)), np.array([-1]))


def test_names_match_as_in_the_reference() -> None:
    assert [knows(name) for name in ("acc", "macc", "acc-5", "f1", "map", "eucll")] == [
        *(True, True, True, True),
        *(False, False),
    ]
    assert compute(["map", "eucll"], np.ones((1, 2)), np.array([0])) == {}
