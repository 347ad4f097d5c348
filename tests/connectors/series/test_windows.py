"""Windows of series: where they begin, what is told of them, and how they are scaled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from ddstream.connectors.series.bounds import Bounds, Survey
from ddstream.connectors.series.windows import starts
from ddstream.data import Array
from ddstream.errors import InputError
from tests.connectors.series.sets import (
    FORECAST,
    LABELS,
    connector,
    everything,
    made,
    read,
    table,
    written,
)

SIZES = st.integers(1, 60)


@pytest.mark.parametrize(
    ("steps", "length", "stride", "found"),
    [
        (10, 4, 4, [0, 4, 6]),
        (12, 4, 4, [0, 4, 8]),
        (12, 4, 2, [0, 2, 4, 6, 8]),
        (4, 4, 4, [0]),
        (3, 4, 4, []),
        (0, 1, 1, []),
        (1, 1, 1, [0]),
        # A lone step that would be left over gets no window.
        (9, 4, 4, [0, 4]),
        # Strides may leave steps out, and then none ends with the series.
        (10, 3, 5, [0, 5]),
    ],
)
def test_windows_begin_where_the_contract_says(
    steps: int, length: int, stride: int, found: list[int]
) -> None:
    assert starts(steps, length, stride) == found


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES, SIZES)
def test_windows_lie_within_their_series_and_cover_it(steps: int, length: int, stride: int) -> None:
    found = starts(steps, length, stride)
    assert bool(found) == (length <= steps)
    assert found == sorted(set(found))
    assert all(start >= 0 and start + length <= steps for start in found)
    covered = {step for start in found for step in range(start, start + length)}
    if found and stride <= length:
        assert covered >= set(range(steps - 1))
    assert found[:-1] == [number * stride for number in range(len(found[:-1]))]


def test_labels_are_told_at_the_steps_of_their_inputs(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"a.csv": table(10)})
    sets = made(tmp_path / "m", data, data, offset=3, **LABELS)
    samples = everything(sets.train)
    assert [each.uri for each in samples] == [
        f"{data}/a.csv #{start}_{start + 3}" for start in (0, 3, 6)
    ]
    assert samples[1].inputs["series"].tolist() == [[3.0], [4.0], [5.0], [6.0]]
    assert np.asarray(samples[1].target).tolist() == [[300.0], [400.0], [500.0], [600.0]]
    assert samples[1].inputs["series"].dtype == np.asarray(samples[1].target).dtype == np.float32
    sizes = sets.dimensions
    assert (sizes.columns, sizes.outputs, sizes.steps, sizes.horizon) == (1, 1, 4, 4)
    assert not sizes.follows


def test_forecasts_are_of_all_columns_after_their_inputs(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"a.csv": table(12)})
    sets = made(tmp_path / "m", data, data, label="y", **FORECAST)
    samples = everything(sets.train)
    assert [each.uri.partition("#")[2] for each in samples] == ["0_5", "4_9", "6_11"]
    assert samples[1].inputs["series"].tolist() == [[4, 400], [5, 500], [6, 600], [7, 700]]
    assert np.asarray(samples[1].target).tolist() == [[8, 800], [9, 900]]
    sizes = sets.dimensions
    assert (sizes.columns, sizes.outputs, sizes.steps, sizes.horizon) == (2, 2, 4, 2)
    assert sizes.follows


TABLES: st.SearchStrategy[list[Array]] = st.lists(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=1, max_size=9).map(np.array),
    min_size=1,
    max_size=4,
)


@settings(max_examples=50, deadline=None)
@given(TABLES)
def test_bounds_of_many_series_are_those_of_all_their_steps(tables: list[Array]) -> None:
    survey = Survey()
    for each in tables:
        survey.add(each)
    whole = np.concatenate(tables)
    found = survey.bounds("minmax", ())
    assert found.first == pytest.approx(whole.min(axis=0))
    assert found.second == pytest.approx(whole.max(axis=0))
    found = survey.bounds("znorm", ())
    assert found.first == pytest.approx(whole.mean(axis=0), rel=1e-9, abs=1e-6)
    assert found.second == pytest.approx(whole.var(axis=0), rel=1e-9, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(TABLES)
def test_what_is_scaled_is_what_scikit_learn_makes_of_it_and_comes_back(
    tables: list[Array],
) -> None:
    values = np.concatenate(tables)
    for kind, scaler in (("minmax", MinMaxScaler((-0.5, 0.5))), ("znorm", StandardScaler())):
        survey = Survey()
        survey.add(values)
        units = survey.bounds(kind, ()).units()  # type: ignore[arg-type]
        assert (units.spread > 0).all()
        moving = np.ptp(values, axis=0) > 1e-3
        scaled = units.scaled(values)
        expected = scaler.fit_transform(values)
        assert scaled[:, moving] == pytest.approx(expected[:, moving], abs=1e-4)
        size = np.abs(values).max() + 1
        assert scaled * units.spread + units.origin == pytest.approx(values, abs=1e-6 * size)


def test_bounds_are_kept_in_the_file_of_the_contract() -> None:
    bounds = Bounds("minmax", (-1.0, 0.25), (1.0, 3.0), (1,))
    assert bounds.file().decode() == (
        "ncols: 2\nnlabels: 1\nlabel_pos:  1\nmin_vals:  -1 : 0.25\nmax_vals:  1 : 3\n"
    )
    assert Bounds.read(bounds.file()) == bounds
    exact = Bounds("znorm", (1 / 3, 1e-300), (2e300, 0.0))
    read_back = Bounds.read(exact.file())
    assert read_back is not None
    assert read_back.first == pytest.approx(exact.first, rel=1e-14)
    assert read_back.kind == "znorm"
    assert Bounds.read(b"ncols: 2\n") is None
    with pytest.raises(InputError, match=r"bounds\.dat of the repository is damaged"):
        Bounds.read(b"min_vals: a : b\nmax_vals: 1 : 2\n")


@pytest.mark.promise("services.input.csvts.scale", "train.input.csvts.scale")
def test_scaling_is_into_a_half_to_both_sides_over_all_files(tmp_path: Path) -> None:
    train = written(tmp_path / "train", {"a.csv": table(10), "b.csv": table(10, first=10)})
    test = written(tmp_path / "test", {"c.csv": table(11, first=20)})
    sets = made(tmp_path / "m", train, test, scale=True, **LABELS)
    assert sets.learned == {"connector": "csvts", "min_vals": [0, 0], "max_vals": [30, 3000]}
    first, last = sets.train.read(0, None), everything(sets.tests[0])[-1]
    assert (first.inputs["series"][0, 0], np.asarray(first.target)[0, 0]) == (-0.5, -0.5)
    assert (last.inputs["series"][-1, 0], np.asarray(last.target)[-1, 0]) == (0.5, 0.5)
    plain = made(tmp_path / "other", train, test, **LABELS)
    assert plain.learned == {"connector": "csvts"}
    assert everything(plain.tests[0])[-1].inputs["series"][-1, 0] == 30


@pytest.mark.promise("services.input.csvts.scale_type")
def test_znorm_gives_mean_zero_and_variance_one(tmp_path: Path) -> None:
    train = written(tmp_path / "train", {"a.csv": table(10), "b.csv": table(30, first=10)})
    sets = made(tmp_path / "m", train, train, scale=True, scale_type="znorm", offset=1, **LABELS)
    assert sets.learned["mean_vals"] == [19.5, 1950]
    assert sets.learned["variance_vals"] == pytest.approx([np.arange(40).var(), 1332500.0])
    assert (tmp_path / "m" / "bounds.dat").read_text().splitlines()[3:] == [
        "mean_vals:  19.5 : 1950",
        "variance_vals:  133.25 : 1332500",
    ]
    sample = sets.train.read(0, None)
    assert sample.inputs["series"][0, 0] == pytest.approx(-19.5 / np.sqrt(133.25))
    with pytest.raises(InputError, match="unknown scale type: log"):
        connector(tmp_path / "m", scale_type="log")


@pytest.mark.promise("train.input.csvts.min_vals")
def test_values_that_are_given_scale_instead_of_those_found(tmp_path: Path) -> None:
    train = written(tmp_path / "train", {"a.csv": table(10)})
    values: dict[str, Any] = {"min_vals": [-10, 0], "max_vals": [10, 1000]}
    sets = made(tmp_path / "m", train, train, **values, **LABELS)
    assert sets.learned == {"connector": "csvts", **values}
    assert sets.train.read(0, None).inputs["series"][0, 0] == 0
    (sample,) = read(connector(tmp_path / "m", label="y"), "x,y\n10,0\n")
    assert sample.inputs["series"].tolist() == [[0.5]]
    # What a training has returned is enough for another repository.
    (sample,) = read(connector(tmp_path / "new", **values, **LABELS), "x,y\n10,0\n")
    assert sample.inputs["series"].tolist() == [[0.5]]
    for raw, text in (
        ({"min_vals": [1, 2, 3], "max_vals": [4, 5, 6]}, "min_vals has 3 values for 2 columns"),
        ({"min_vals": [1, 2]}, "min_vals and max_vals must have as many values as each other"),
        ({**values, "scale_type": "znorm"}, "scale_type znorm contradicts"),
        ({**values, "mean_vals": [1, 2], "variance_vals": [1, 2]}, "exclude each other"),
        ({"mean_vals": [1, 2], "variance_vals": [1, -2]}, "a variance is not negative"),
    ):
        with pytest.raises(InputError, match=text):
            made(tmp_path / "m", train, train, **{**raw, **LABELS})
