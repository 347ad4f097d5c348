"""Mistakes with time series: each is told by the name of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.api.csvts import SeriesInput
from ddstream.data import Datum, Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates import TEMPLATES
from tests.connectors.series.sets import FORECAST, LABELS, connector, made, read, table, written

WINDOWS = Dimensions(outputs=1, columns=1, steps=8, horizon=4, follows=True)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("cell", ["1e39", "-1e300"])
def test_numbers_that_no_model_takes_are_refused(tmp_path: Path, cell: str, scale: bool) -> None:
    folder = written(tmp_path / "train", {"a.csv": f"{table(20)}1,{cell}\n"})
    with pytest.raises(InputError, match=r"line 22 of .*a\.csv, column y: the number is too large"):
        made(tmp_path / "m", folder, folder, **LABELS, scale=scale)


@pytest.mark.parametrize("raw", [LABELS, FORECAST])
def test_a_path_that_is_not_there_is_no_series(tmp_path: Path, raw: Mapping[str, Any]) -> None:
    folder = written(tmp_path / "train", {"a.csv": table(40)})
    made(tmp_path, folder, folder, **raw)
    with pytest.raises(InputError, match=r"'serie\.csv' is neither a file nor a series"):
        read(connector(tmp_path, **raw), "serie.csv")
    with pytest.raises(InputError, match="0 has no rows"):
        read(connector(tmp_path, **raw), "x,y")


def test_a_table_without_the_label_says_what_it_has(tmp_path: Path) -> None:
    folder = written(tmp_path / "train", {"a.csv": table(20).replace(",", ";")})
    with pytest.raises(InputError, match=r"cannot find label column y .*: its columns are 'x;y'"):
        made(tmp_path / "m", folder, folder, **LABELS)


def test_timesteps_beside_a_forecast_are_told() -> None:
    both = {"backcast_timesteps": 8, "forecast_timesteps": 4, "timesteps": 5}
    said = SeriesInput.parse(both, "parameters.input", InputError).unknown("parameters.input")
    assert said == ["parameters.input.timesteps has no effect: backcast_timesteps is given"]


def test_what_is_wrong_is_told_in_the_letters_of_the_request() -> None:
    with pytest.raises(ParameterError, match=r"stackdef: 'T2' is none of tK \(trend, K terms\)"):
        TEMPLATES.load("nbeats")(WINDOWS, {"stackdef": ["T2"]})


def test_a_training_goes_on_with_its_label(tmp_path: Path) -> None:
    folder = written(tmp_path / "train", {"a.csv": table(20)})
    made(tmp_path, folder, folder, **LABELS)
    again = connector(tmp_path, **{**LABELS, "label": "x"})
    with pytest.raises(InputError, match=r"parameters\.input\.label: .* goes on has y"):
        again.datasets([folder, folder], {"resume": True})


def test_a_prediction_reads_the_columns_of_the_training(tmp_path: Path) -> None:
    folder = written(tmp_path / "train", {"a.csv": table(20)})
    made(tmp_path, folder, folder, **LABELS)
    other = connector(tmp_path, **{**LABELS, "label": "x"})
    (own,), (same,) = (read(each, table(5)) for each in (connector(tmp_path, **LABELS), other))
    assert np.array_equal(own.inputs["series"], same.inputs["series"])


def test_series_too_short_to_be_measured_are_told_by_their_steps(tmp_path: Path) -> None:
    folder = written(tmp_path / "train", {"a.csv": table(20)})
    made(tmp_path, folder, folder, **FORECAST)
    with pytest.raises(InputError, match=r"no series is long enough .*: 0 has 5 steps of 6"):
        list(connector(tmp_path, **FORECAST).labelled(Datum("0", table(5)), {}))
