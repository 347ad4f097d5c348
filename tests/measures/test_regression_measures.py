"""Measures of regressions against scikit-learn and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from ddstream.data import Array
from ddstream.measures.regression import compute, knows


@pytest.fixture
def pairs() -> tuple[Array, Array]:
    """Predictions and targets of 50 samples with three targets."""
    rng = np.random.default_rng(6)
    targets = rng.normal(size=(50, 3)).astype(np.float32)
    return targets + 0.3 * rng.normal(size=(50, 3)).astype(np.float32), targets


@pytest.mark.promise("measures.eucll")
def test_eucll_is_the_mean_distance_by_the_number_of_targets(pairs: tuple[Array, Array]) -> None:
    found = compute(["eucll"], *pairs)
    distances = [math.dist(p, t) / 3 for p, t in zip(*pairs, strict=True)]
    assert found["eucll"] == pytest.approx(sum(distances) / 50)
    assert set(found) == {"eucll", "eucll_0", "eucll_1", "eucll_2"}
    first = metrics.mean_squared_error(pairs[1][:, 0], pairs[0][:, 0])
    assert found["eucll_0"] == pytest.approx(math.sqrt(first * 50) / 50)


def test_eucll_with_a_threshold_leaves_small_differences_out(pairs: tuple[Array, Array]) -> None:
    found = compute(["eucll-0.5"], *pairs)
    expected = 0.0
    for prediction, target in zip(*pairs, strict=True):
        large = [d for d in np.abs(prediction - target).astype(float) if d >= 0.5]
        expected += math.sqrt(sum(d * d for d in large)) / 3
    assert found["eucll_no_0.500000"] == pytest.approx(expected / 50, rel=1e-6)
    assert {"eucll", "eucll_no_2_0.500000"} <= set(found)


def test_one_target_has_no_eucll_of_its_own() -> None:
    assert compute(["eucll"], np.ones((2, 1)), np.zeros((2, 1))) == {"eucll": 1.0}


@pytest.mark.promise("measures.l1")
def test_l1_is_the_mean_absolute_error(pairs: tuple[Array, Array]) -> None:
    found = compute(["l1"], *pairs)
    each = metrics.mean_absolute_error(pairs[1], pairs[0], multioutput="raw_values")
    assert found["l1"] == pytest.approx(each.mean())
    assert [found[f"l1_{j}"] for j in range(3)] == pytest.approx(each)


def test_l1_of_one_target_has_its_own_key_too() -> None:
    assert set(compute(["l1"], np.ones((2, 1)), np.zeros((2, 1)))) == {"l1", "l1_0"}


@pytest.mark.promise("measures.percent")
def test_percent_is_the_mean_absolute_percentage(pairs: tuple[Array, Array]) -> None:
    found = compute(["percent"], *pairs)
    each = metrics.mean_absolute_percentage_error(*reversed(pairs), multioutput="raw_values")
    assert found["percent"] == pytest.approx(100 * each.mean(), rel=1e-5)
    assert found["percent_1"] == pytest.approx(100 * each[1], rel=1e-5)


def test_gini_is_one_for_the_right_order() -> None:
    targets = np.array([[3.0], [1.0], [2.0]])
    assert compute(["gini"], targets**3, targets)["gini"] == pytest.approx(1.0)
    assert compute(["gini"], -targets, targets)["gini"] < 0


def test_a_measure_without_a_value_is_not_a_number() -> None:
    assert math.isnan(compute(["gini"], np.ones((2, 1)), np.ones((2, 1)))["gini"])


def test_regression_names() -> None:
    names = ("eucll", "eucll-0.1", "l1", "percent", "gini", "acc")
    assert [knows(name) for name in names] == [*(True,) * 5, False]
