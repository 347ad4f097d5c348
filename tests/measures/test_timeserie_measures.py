"""Measures of time series against scikit-learn and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ddstream.data import Array
from ddstream.measures import timeserie
from ddstream.measures.timeserie import MEASURES, Told, compute

SPREAD, ORIGIN = np.array([2.0, 50.0]), np.array([0.0, 300.0])


def windows(seed: int, *, before: bool = True) -> Told:
    """Five windows of four steps of two columns, scaled, and their past."""
    rng = np.random.default_rng(seed)
    past = rng.uniform(-0.5, 0.5, (5, 2)) if before else np.full((5, 2), np.nan)
    shape = (5, 4, 2)
    told, came = rng.uniform(-0.5, 0.5, shape), rng.uniform(-0.5, 0.5, shape)
    return Told(told.astype(np.float32), came.astype(np.float32), SPREAD, ORIGIN, past)


def rows(values: Array, column: int) -> Array:
    """All steps of a column in original units."""
    flat: Array = (values.astype(np.float64) * SPREAD + ORIGIN)[:, :, column].ravel()
    return flat


@pytest.mark.promise(
    "measures.timeserie.mae",
    "measures.timeserie.mse",
    "measures.timeserie.mape",
    "measures.timeserie.mae_all",
    "measures.timeserie.mse_all",
    "measures.timeserie.mape_all",
)
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99))
def test_errors_are_those_of_scikit_learn(seed: int) -> None:
    tested = windows(seed)
    found = compute(["mae", "mse", "mape", "mae_all", "mse_all", "mape_all"], tested)
    for name, reference in (
        ("MAE", metrics.mean_absolute_error),
        ("MSE", metrics.mean_squared_error),
        ("MAPE", lambda *pair: 100 * metrics.mean_absolute_percentage_error(*pair)),
    ):
        each = [reference(rows(tested.targets, s), rows(tested.predictions, s)) for s in range(2)]
        assert [found[f"{name}_{s}"] for s in range(2)] == pytest.approx(each)
        assert found[name] == pytest.approx(np.mean(each))


@pytest.mark.promise(
    "measures.timeserie.L1",
    "measures.timeserie.L2",
    "measures.timeserie.L1_all",
    "measures.timeserie.L2_all",
    "services.output.measure.timeserie",
)
def test_distances_are_in_scaled_units_with_the_step_of_the_largest() -> None:
    told = np.array([[[0.1, 0.0], [0.0, 0.3]], [[0.2, 0.1], [0.0, 0.0]]])
    tested = Told(told, np.zeros((2, 2, 2)), SPREAD, ORIGIN, np.zeros((2, 2)))
    assert compute(["L1"], tested) == {
        "L1_max_error": 0.3,
        "L1_mean_error": pytest.approx(0.0875),
        "eucll": pytest.approx(0.0875),
    }
    every = compute(["L1_all", "L2_all"], tested)
    assert every["L1_mean_error_0"] == pytest.approx(0.075)
    assert (every["L1_max_error_1"], every["L1_max_error_1_date"]) == (0.3, 1.0)
    assert (every["L1_max_error_0"], every["L1_max_error_0_date"]) == (0.2, 0.0)
    assert every["L2_mean_error_1"] == pytest.approx(np.mean([0, 0.09, 0.01, 0]))
    assert every["L2_max_error"] == pytest.approx(0.09)
    # That of L2 goes before.
    assert every["eucll"] == every["L2_mean_error"] == pytest.approx(0.0375 / 2)
    assert "L2_max_error_0" not in compute(["L2"], tested)


def test_an_error_of_scaled_values_is_half_of_one_of_values_of_both_signs() -> None:
    told, came = np.full((1, 3, 1), 0.5), np.array([[[-0.5], [0.0], [0.25]]])
    tested = Told(told, came, np.array([2.0]), np.array([0.0]), np.zeros((1, 1)))
    found = compute(["L1_all", "mae_all"], tested)
    assert found["MAE_0"] == pytest.approx(2 * found["L1_mean_error_0"], abs=1e-5)


@pytest.mark.promise(
    "measures.timeserie.smape",
    "measures.timeserie.mase",
    "measures.timeserie.owa",
    "measures.timeserie.smape_all",
    "measures.timeserie.mase_all",
    "measures.timeserie.owa_all",
)
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.booleans())
def test_shares_of_the_naive_forecast_are_those_of_plain_loops(seed: int, before: bool) -> None:
    tested = windows(seed, before=before)
    names = ["smape", "mase", "owa"]
    found = compute([*names, *(f"{name}_all" for name in names)], tested)
    for s in range(2):
        percent, naive_percent, errors, naive = [], [], [], []
        for window in range(5):
            told, came = (
                values[window, :, s].astype(np.float64) * SPREAD[s] + ORIGIN[s]
                for values in (tested.predictions, tested.targets)
            )
            past = tested.before[window, s] * SPREAD[s] + ORIGIN[s]
            for step in range(4):
                errors.append(abs(told[step] - came[step]))
                percent.append(200 * errors[-1] / (abs(told[step]) + abs(came[step])))
                last = came[step - 1] if step else past
                if math.isfinite(last):
                    naive.append(abs(last - came[step]))
                    naive_percent.append(200 * naive[-1] / (abs(last) + abs(came[step])))
        mase = np.mean(errors) / np.mean(naive)
        assert found[f"sMAPE_{s}"] == pytest.approx(np.mean(percent))
        assert found[f"MASE_{s}"] == pytest.approx(mase)
        owa = (np.mean(percent) / np.mean(naive_percent) + mase) / 2
        assert found[f"OWA_{s}"] == pytest.approx(owa)
    for name in ("sMAPE", "MASE", "OWA"):
        assert found[name] == pytest.approx(np.mean([found[f"{name}_{s}"] for s in range(2)]))


def test_repeating_the_step_before_has_a_mase_and_an_owa_of_one() -> None:
    tested = windows(1)
    naive = np.concatenate([tested.before[:, None], tested.targets[:, :-1]], axis=1)
    found = compute(["mase", "owa"], Told(naive, tested.targets, SPREAD, ORIGIN, tested.before))
    assert [found["MASE"], found["OWA"]] == pytest.approx([1, 1])


def test_what_cannot_be_divided_is_left_out_or_not_a_number() -> None:
    constant = Told.plain(np.ones((1, 3, 1)), np.zeros((1, 3, 1)))
    found = compute(["mape", "smape", "mase", "owa"], constant)
    assert math.isnan(found["MAPE"])
    assert found["sMAPE"] == 200
    assert math.isnan(found["MASE"])
    assert math.isnan(found["OWA"])


def test_a_prediction_that_is_not_a_number_does_not_hide() -> None:
    told = np.array([[[np.nan], [1.0]]])
    found = compute(list(MEASURES), Told.plain(told, np.array([[[1.0], [2.0]]])))
    assert all(math.isnan(found[name]) for name in ("MAE", "MSE", "MAPE", "sMAPE", "MASE", "OWA"))


def test_without_a_measure_of_series_l1_is_meant() -> None:
    found = compute(["acc"], Told.plain(np.ones((1, 1, 1)), np.zeros((1, 1, 1))))
    assert found == {"L1_max_error": 1, "L1_mean_error": 1, "eucll": 1}
    assert timeserie.knows("owa_all")
    assert not timeserie.knows("acc")
    assert all(isinstance(value, float) for value in compute(list(MEASURES), windows(0)).values())
