"""Every Api: time series are told, measured and continued by a model that was trained before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ddstream.api.envelope import Json
from ddstream.api.parameters import envelope
from ddstream.api.predict import PredictRequest
from ddstream.errors import InputError, ParameterError
from tests.backends.series import Series, service
from tests.conformance.calls import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE: Json = {
    "parameters": {
        "input": {"connector": "csvts", "label": ["out"], "timesteps": 20, "scale": True},
        "mllib": {"template": "recurrent", "layers": ["L6"], "nclasses": 0},
    }
}


@pytest.fixture(scope="module")
def waves(folder: Path) -> Series:
    """A service of waves, trained once for all Apis."""
    parameters = SERVICE["parameters"]
    made = service(folder / "waves", parameters["mllib"], parameters["input"])
    if not (made.folder / "model").exists():
        made.train(over={"solver": {"iterations": 4}})
    return made


async def asked(desk: Desk, data: list[Any], output: Json | None = None, **inputs: Any) -> Json:
    """The body of an answer to POST /predict."""
    parameters = {"input": inputs, "output": output or {}}
    body = {"service": desk.name, "data": data, "parameters": parameters}
    answer = await desk.api.predict(envelope(PredictRequest, body))
    return dict(answer.body)


async def test_a_series_is_told_measured_and_continued(desk: Desk, waves: Series) -> None:
    shutil.copytree(waves.folder / "model", desk.repository)
    path = waves.folder / "test" / "seq_0.csv"
    assert (await desk.create(SERVICE)).code == 201
    described = (await desk.api.get_service(desk.name)).body
    assert (described["mltype"], described["width"], described["height"]) == ("timeserie", 1, 2)
    (whole,) = (await asked(desk, [str(path)]))["predictions"]
    assert whole["uri"] == f"{path} #0_119"
    assert [each.get("last") for each in whole["series"]] == [None] * 119 + [True]
    measured = await asked(desk, [str(path.parent)], {"measure": ["mae", "mase_all"]})
    assert set(measured["measure"]) == {"MAE", "MASE_0"}
    rows = path.read_text().splitlines()
    (first,) = (await asked(desk, ["\n".join(rows[:31])]))["predictions"]
    # The first element is the header of the others.
    going_on = await asked(desk, [rows[0], *rows[31:35], "\n".join(rows[35:])], continuation=True)
    more = going_on["predictions"]
    assert [each["uri"] for each in (first, *more)] == ["0", "0", "1", "2", "3", "4"]
    told = [step["out"][0] for each in (first, *more) for step in each["series"]]
    assert told == pytest.approx([step["out"][0] for step in whole["series"]], abs=1e-4)
    with pytest.raises(InputError, match="line 2 of 0, column in: 'up' is not a number"):
        await asked(desk, ["in,out\nup,1"])


async def test_parameters_of_a_series_are_refused_by_name(desk: Desk) -> None:
    for where, value, error, text in (
        ("input", {"backcast_timesteps": 5}, InputError, "should be both specified"),
        ("mllib", {"layers": []}, ParameterError, "w/o layer specification"),
        ("mllib", {"loss": "L7"}, ParameterError, "unknown loss l7"),
    ):
        over = {**SERVICE["parameters"], where: {**SERVICE["parameters"][where], **value}}
        with pytest.raises(error, match=f"(?i){text}"):
            await desk.create({"parameters": over})
