"""Time series through Torch: what learns, what is kept for other processes, what is asked of it."""

from __future__ import annotations

import asyncio
import warnings
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ddstream import DeepDetect
from ddstream.api.parameters import envelope
from ddstream.api.predict import PredictRequest
from ddstream.api.service import ServiceDefinition
from ddstream.data import Batch, Datum
from ddstream.engine.engine import Engine
from ddstream.errors import InputError, ParameterError
from ddstream.settings import Settings
from tests.backends.series import FORECAST, LABELS, Series, service
from tests.connectors.series.sets import table

NBEATS: dict[str, Any] = {"template": "nbeats"}
LSTM: dict[str, Any] = {"template": "recurrent", "layers": ["L10", "L10"]}
SHORT: dict[str, Any] = {"solver": {"iterations": 3}}


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """N-BEATS that has learned to go on with waves."""
    made = service(tmp_path_factory.mktemp("nbeats"), NBEATS, {**FORECAST, "ignore": ["out"]})
    made.train()
    return made


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """LSTMs that have learned to tell a wave from another."""
    made = service(tmp_path_factory.mktemp("lstm"), LSTM, LABELS)
    made.train()
    return made


def final(found: Series, measures: list[str], **over: Any) -> dict[str, Any]:
    """The measures of the one test set at the end of a training."""
    *_, last = found.train(measures, over)
    assert last.measures is not None
    return dict(last.measures[0])


def test_a_forecast_is_learned_and_measured_in_both_units(tmp_path: Path) -> None:
    found = service(tmp_path, NBEATS, {**FORECAST, "ignore": ["out"]})
    measure = final(found, ["L1_all", "mae_all", "mase", "L2"])
    assert measure["MASE"] < 1
    assert measure["MAE_0"] == pytest.approx(2 * measure["L1_mean_error_0"], abs=1e-4)
    assert "L2_max_error_0" not in measure
    assert measure["eucll"] == measure["L2_mean_error"]
    best = (tmp_path / "model" / "best_model.txt").read_text().splitlines()
    assert best == ["iteration:60", f"L1_mean_error:{measure['L1_mean_error']}"]


def test_another_process_goes_by_what_the_repository_keeps(forecaster: Series) -> None:
    path = forecaster.folder / "test" / "seq_0.csv"
    found = forecaster.predict(path)
    spans = [each["uri"].removeprefix(f"{path} #") for each in found]
    assert spans == ["0_29", "30_59", "60_89", "90_119"]
    came = np.loadtxt(path, delimiter=",", skiprows=1)[20:30, 0]
    told = [each["out"][0] for each in found[0]["series"]]
    assert np.abs(np.array(told) - came).mean() < 0.25
    assert [each.get("last") for each in found[0]["series"]] == [None] * 9 + [True]
    bare = Series(forecaster.folder, NBEATS, {})
    assert bare.predict(path) == found


def test_layers_of_nbeats_are_extracted_by_their_names(forecaster: Series) -> None:
    path = forecaster.folder / "test" / "seq_0.csv"
    found = forecaster.predict(path, extract_layer="2:0:fc3")
    assert [len(each["vals"]) for each in found] == [10] * 4
    (end, *_) = forecaster.predict(path, extract_layer="2:2:end")
    (last, *_) = forecaster.predict(path, extract_layer="last")
    # What is left of the input, then what is told.
    assert end["vals"][20:] == pytest.approx(last["vals"])
    assert (len(end["vals"]), len(last["vals"])) == (20 + 10, 10)
    with pytest.raises(ParameterError, match="unknown extract layer 3:0:fc1"):
        forecaster.predict(path, extract_layer="3:0:fc1")


def test_a_training_goes_on_with_its_bounds(tmp_path: Path) -> None:
    found = service(tmp_path, NBEATS, FORECAST)
    found.train(over=SHORT)
    bounds = (tmp_path / "model" / "bounds.dat").read_bytes()
    with (tmp_path / "train" / "seq_0.csv").open("a") as file:
        file.write("99,99\n")
    with pytest.raises(ParameterError, match="dede requires a resume argument"):
        found.train(over=SHORT)
    assert len(found.train(over={"solver": {"iterations": 5}, "resume": True})) == 2
    assert (tmp_path / "model" / "bounds.dat").read_bytes() == bounds


@pytest.mark.promise("services.torch.loss")
def test_the_loss_is_the_mean_of_absolute_or_of_squared_differences(tmp_path: Path) -> None:
    def first_loss(**over: Any) -> float:
        found = service(tmp_path, {**NBEATS, **over}, FORECAST)
        found.repository.clear("full")
        return found.train(over={"solver": {"iterations": 1}})[0].points["train_loss"]

    whole = first_loss()
    assert whole == first_loss(loss="L1") == first_loss(loss="l1")
    assert first_loss(loss="L2") == first_loss(loss="eucl") != whole
    # What is left of the input costs too.
    assert first_loss(template_params={"backcast_loss_coef": 1.0}) > 1.2 * whole
    with pytest.raises(ParameterError, match="unknown loss L3"):
        first_loss(loss="L3")


@pytest.mark.parametrize(
    "mllib",
    [
        {"template": "nbeats", "template_params": {"backcast_loss_coef": 0.1}},
        {"template": "ttransformer", "template_params": {"autoreg": True}},
        {"template": "ttransformer", "template_params": {"decoder": {"type": "transformer"}}},
        {"template": "recurrent", "layers": ["L10", "T", "L10"]},
    ],
)
@pytest.mark.parametrize("connector", [{**LABELS, "timesteps": 12}, FORECAST])
def test_every_kind_of_model_learns_labels_and_forecasts(
    tmp_path: Path, mllib: dict[str, Any], connector: dict[str, Any]
) -> None:
    found = service(tmp_path, mllib, connector)
    iterations = found.train(over={"solver": {"iterations": 12}})
    losses = [each.points["train_loss"] for each in iterations]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    predictions = found.predict(found.folder / "test" / "seq_0.csv")
    lengths = {len(each["series"]) for each in predictions}
    assert lengths == ({10} if "forecast_timesteps" in connector else {120})


def test_layers_may_be_others_than_at_creation(tmp_path: Path) -> None:
    found = service(tmp_path, LSTM, LABELS)
    found.train(over={**SHORT, "layers": ["AR5", "L7"]})
    backend = found.backend()
    assert backend.stats().params == 5 + 5 + 4 * (7 * 5 + 7 * 7 + 14) + 8
    assert backend.warnings == ["template_params are those of the training that made the weights"]
    with pytest.raises(ParameterError, match="layers cannot be changed after creation"):
        backend.call_parameters({**LSTM, "layers": ["L3"]})


def test_a_training_of_many_labels_tells_each_in_its_units(tmp_path: Path) -> None:
    for name in ("train", "test"):
        folder = tmp_path / name
        folder.mkdir()
        rows = "".join(f"{i % 7},{i % 5 * 100},{i % 3 - 40}\n" for i in range(60))
        (folder / "a.csv").write_text("x,big,low\n" + rows)
    raw = {"label": ["low", "big"], "timesteps": 10}
    found = Series(tmp_path, {"template": "recurrent", "layers": ["L4"]}, raw)
    found.train(over=SHORT)
    (prediction,) = found.predict("x\n" + "3\n" * 6)
    assert prediction["uri"] == "0"
    low, big = np.array([each["out"] for each in prediction["series"]]).T
    assert ((low > -45) & (low < -35)).all()
    assert ((big > -100) & (big < 500)).all()


def test_a_model_without_memory_refuses_to_continue(forecaster: Series) -> None:
    connector = forecaster.connector(continuation=True)
    backend = forecaster.backend()
    samples = list(connector.read(Datum("0", "in\n" + "0.5\n" * 20)))
    with pytest.raises(InputError, match="continuation: the model remembers nothing"):
        backend.forward(Batch.of(samples), backend.call_parameters(NBEATS))


def test_a_batch_that_continues_is_done_one_by_one(reader: Series) -> None:
    lines = (reader.folder / "test" / "seq_0.csv").read_text().splitlines()[1:]

    def told(backend: Any, rows: list[str], *, go_on: bool) -> list[float]:
        text = "\nEND_OF_SEQ\n".join(rows)
        samples = list(reader.connector(continuation=go_on).read(Datum("0", text)))
        found = backend.forward(Batch.of(samples), backend.call_parameters(LSTM))["output"]
        return [float(value) for value in found.ravel()]

    backend = reader.backend()
    whole = told(backend, ["\n".join(lines[:9])], go_on=False)
    told(backend, lines[:1], go_on=False)
    parts = told(backend, lines[1:9], go_on=True)
    assert parts == pytest.approx(whole[1:], abs=1e-6)
    assert told(backend, lines[1:9], go_on=False) != pytest.approx(whole[1:], abs=1e-3)


def test_calls_that_continue_keep_their_order_through_the_engine(reader: Series) -> None:
    path = reader.folder / "test" / "seq_0.csv"
    lines = path.read_text().splitlines()[1:]
    with DeepDetect(Settings(roots=str(reader.folder))) as dd:
        made = dd.create_service(
            "lags",
            model={"repository": str(reader.folder / "model")},
            mllib="torch",
            input_parameters={"connector": "csvts", "label": ["out"], "scale": True},
            mllib_parameters=LSTM,
        )
        assert made.info()["height"] == 2
        (whole,) = made.predict([str(path)])["predictions"]
        assert whole["uri"] == f"{path} #0_119"
        go_on = {"continuation": True}
        # A call without continuation begins anew.
        (first,) = made.predict(["\n".join(lines[:30])])["predictions"]
        more = made.predict(lines[30:40], input_parameters=go_on)["predictions"]
        (rest,) = made.predict(["\n".join(lines[40:])], input_parameters=go_on)["predictions"]
        assert [each["uri"] for each in more] == [str(number) for number in range(10)]
        told = [step["out"][0] for each in (first, *more, rest) for step in each["series"]]
        expected = [step["out"][0] for step in whole["series"]]
        assert told == pytest.approx(expected, abs=1e-5)
        values = made.predict([str(path)], mllib_parameters={"extract_layer": "LSTM_1"})
        assert len(values["predictions"][0]["vals"]) == 120 * 10
        measured = made.predict(
            [str(reader.folder / "test")], output_parameters={"measure": ["L1"]}
        )
        assert 0 < measured["measure"]["L1_mean_error"] < 0.3


async def test_calls_that_arrive_together_go_on_from_each_other(reader: Series) -> None:
    lines = (reader.folder / "test" / "seq_0.csv").read_text().splitlines()[1:61]
    definition = {
        "mllib": "torch",
        "model": {"repository": str(reader.folder / "model")},
        "parameters": {"input": {"connector": "csvts", "label": ["out"]}, "mllib": LSTM},
    }

    async with Engine(Settings(roots=str(reader.folder))) as engine:
        await engine.create_service("lags", envelope(ServiceDefinition, definition))

        async def told(rows: str, *, go_on: bool) -> list[float]:
            parameters = {"input": {"continuation": go_on}}
            body = {"service": "lags", "data": [rows], "parameters": parameters}
            answer = await engine.predict(envelope(PredictRequest, body))
            (prediction,) = answer.body["predictions"]
            return [step["out"][0] for step in prediction["series"]]

        whole = await told("\n".join(lines), go_on=False)
        parts = ["\n".join(lines[start : start + 1 + start % 2]) for start in _starts(len(lines))]
        assert "\n".join(parts) == "\n".join(lines)
        first = await told(parts[0], go_on=False)
        rest = await asyncio.gather(*(told(part, go_on=True) for part in parts[1:]))
    assert [*first, *chain.from_iterable(rest)] == pytest.approx(whole, abs=1e-5)


def _starts(steps: int) -> list[int]:
    """Where parts of one and of two steps begin."""
    found = [0]
    while (following := found[-1] + 1 + found[-1] % 2) < steps:
        found.append(following)
    return found


class Held(nn.Module):
    """Says the last step again, three times."""

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return series[:, -1:].repeat(1, 3, 1)


def test_a_traced_model_of_series_is_asked_as_any_other(tmp_path: Path) -> None:
    raw = {"backcast_timesteps": 5, "forecast_timesteps": 3, "scale": False}
    found = Series(tmp_path, {}, raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        script = torch.jit.script(Held()).save_to_buffer()  # type: ignore[no-untyped-call]
    found.repository.write("held.pt", script)
    (prediction,) = found.predict(table(5))
    assert [each["out"] for each in prediction["series"]] == [[4.0, 400.0]] * 3
