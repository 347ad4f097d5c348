"""The task of time series."""

from __future__ import annotations

import numpy as np
import pytest

from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.tasks.timeserie import TimeSerie


def sample(target: Array | None = None, *, follows: bool = True) -> Sample:
    """A window of one column, which spreads by 10 around 100."""
    meta = {"spread": np.array([10.0]), "origin": np.array([100.0]), "follows": follows}
    return Sample("s #0_3", {"series": np.array([[0.1], [0.2]], np.float32)}, target, meta=meta)


def test_steps_are_told_in_the_units_of_the_data() -> None:
    rows = TimeSerie().activate({OUTPUT: np.array([[[-0.5], [0.25]]], np.float32)})
    assert TimeSerie().decode(rows[0], sample(), OutputParameters()) == {
        "uri": "s #0_3",
        "loss": 0.0,
        "classes": [],
        "series": [{"out": [95.0]}, {"last": True, "out": [102.5]}],
    }


def test_windows_are_measured_with_the_step_before_them() -> None:
    target = np.array([[0.4], [0.5]], np.float32)
    told = target + np.float32(0.1)
    for follows, naive in ((True, (0.2 + 0.1) / 2), (False, 0.1)):
        tally = TimeSerie().tally(["mase", "mae"])
        tally.add([told], [sample(target, follows=follows)])
        found = tally.result()
        assert found["MAE"] == pytest.approx(1.0, rel=1e-5)
        assert found["MASE"] == pytest.approx(0.1 / naive, rel=1e-5)
    assert TimeSerie().tally(["L1"]).result() == {}
    assert TimeSerie().knows("mase_all")
    assert TimeSerie.measures == ("L1",)


def test_what_does_not_fit_together_is_refused() -> None:
    tally = TimeSerie().tally(["L1"])
    with pytest.raises(InputError, match="s #0_3 has no target"):
        tally.add(np.zeros((1, 2, 1)), [sample()])
    with pytest.raises(ParameterError, match=r"steps of \(2, 1\), the model tells \(3, 1\)"):
        tally.add(np.zeros((1, 3, 1)), [sample(np.zeros((2, 1), np.float32))])
    with pytest.raises(ParameterError, match=r"steps of \(2,\), the data has 1 columns"):
        TimeSerie().decode(np.zeros((2, 2)), sample(), OutputParameters())
