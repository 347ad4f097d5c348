"""Measures of independent scores against scikit-learn and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from ddstream.data import Array
from ddstream.measures.multilabel import compute, knows


@pytest.fixture
def soft() -> tuple[Array, Array]:
    """Scores and soft targets of 40 samples with five labels."""
    rng = np.random.default_rng(7)
    return rng.random((40, 5)), rng.random((40, 5))


def every(scores: Array, targets: Array) -> list[tuple[float, float]]:
    return [(float(p), float(t)) for p, t in zip(scores.flat, targets.flat, strict=True)]


@pytest.mark.promise("measures.kl")
def test_kl_divergence(soft: tuple[Array, Array]) -> None:
    found = compute(["kl"], *soft)
    expected = [t * math.log(t / p) for p, t in every(*soft)]
    assert found["kl_divergence"] == pytest.approx(sum(expected) / 200)
    assert found["kl_divergence_no_0.000000"] == pytest.approx(found["kl_divergence"])


def test_zero_probabilities_keep_kl_finite() -> None:
    found = compute(["kl", "js"], np.zeros((1, 2)), np.ones((1, 2)))
    assert found["kl_divergence"] == pytest.approx(math.log(1e5))
    assert math.isfinite(found["js_divergence"])


@pytest.mark.promise("measures.js")
def test_js_divergence(soft: tuple[Array, Array]) -> None:
    expected = [
        (t * math.log(2 * t / (p + t)) + p * math.log(2 * p / (p + t))) / 2 for p, t in every(*soft)
    ]
    assert compute(["js"], *soft)["js_divergence"] == pytest.approx(sum(expected) / 200)


@pytest.mark.promise("measures.was")
def test_wasserstein(soft: tuple[Array, Array]) -> None:
    expected = metrics.root_mean_squared_error(soft[1].ravel(), soft[0].ravel())
    assert compute(["was"], *soft)["wasserstein"] == pytest.approx(expected)


@pytest.mark.promise("measures.ks")
def test_kolmogorov_smirnov_looks_at_all_samples(soft: tuple[Array, Array]) -> None:
    expected = max(abs(t - p) for p, t in every(*soft))
    assert compute(["ks"], *soft)["kolmogorov_smirnov"] == pytest.approx(expected)


@pytest.mark.promise("measures.dc")
def test_distance_correlation_is_the_mean_over_samples(soft: tuple[Array, Array]) -> None:
    found = compute(["dc"], *soft)["distance_correlation"]
    expected = [plain_correlation(p.tolist(), t.tolist()) for p, t in zip(*soft, strict=True)]
    assert found == pytest.approx(sum(expected) / 40)


def plain_correlation(x: list[float], y: list[float]) -> float:
    n = range(len(x))

    def centred(v: list[float]) -> list[list[float]]:
        d = [[abs(v[i] - v[j]) for j in n] for i in n]
        row = [sum(each) / len(v) for each in d]
        mean = sum(row) / len(v)
        return [[d[i][j] - row[i] - row[j] + mean for j in n] for i in n]

    def inner(a: list[list[float]], b: list[list[float]]) -> float:
        return sum(a[i][j] * b[i][j] for i in n for j in n)

    a, b = centred(x), centred(y)
    return math.sqrt(inner(a, b) / math.sqrt(inner(a, a) * inner(b, b)))


@pytest.mark.promise("measures.r2")
def test_r2(soft: tuple[Array, Array]) -> None:
    expected = metrics.r2_score(soft[1].ravel(), soft[0].ravel())
    assert compute(["r2"], *soft)["r2"] == pytest.approx(expected)


@pytest.mark.promise("measures.deltas")
def test_delta_scores(soft: tuple[Array, Array]) -> None:
    found = compute(["deltas"], *soft)
    for delta in (0.05, 0.1, 0.2, 0.5):
        close = [abs(t - p) < delta for p, t in every(*soft)]
        assert found[f"delta_score_{delta}"] == pytest.approx(sum(close) / 200)


def test_a_threshold_restricts_the_second_value(soft: tuple[Array, Array]) -> None:
    found = compute(["was-0.5"], *soft)
    squares = [(t - p) ** 2 for p, t in every(*soft) if t > 0.5]
    expected = math.sqrt(sum(squares) / len(squares))
    assert found["wasserstein_no_0.500000"] == pytest.approx(expected)


def test_hard_labels_are_counted_over_known_targets() -> None:
    rng = np.random.default_rng(8)
    scores, targets = rng.random((30, 4)), rng.integers(0, 2, (30, 4)).astype(float)
    targets[0] = -1
    found = compute(["acc"], scores, targets)
    yes, said = targets[1:].ravel(), scores[1:].ravel() >= 0.5
    sensitivity = metrics.recall_score(yes, said)
    specificity = metrics.recall_score(yes, said, pos_label=0)
    assert found == {
        "f1": pytest.approx(metrics.f1_score(yes, said)),
        "precision": pytest.approx(metrics.precision_score(yes, said)),
        "sensitivity": pytest.approx(sensitivity),
        "specificity": pytest.approx(specificity),
        "harmmean": pytest.approx(2 / (1 / sensitivity + 1 / specificity)),
    }


def test_multilabel_names() -> None:
    names = ("kl", "js", "was", "ks", "dc", "r2", "deltas", "acc", "mcll")
    assert [knows(name) for name in names] == [*(True,) * 8, False]
