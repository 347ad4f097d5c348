"""Series as the reference's suite asks for them (contract 9.3 and 9.4), but short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.rest.dd_client import DDCommunicationError
from tests.scenarios.conftest import Client, Json, refused, solving

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(600)

STEPS = 99
NBEATS: Json = {
    "template": "nbeats",
    "template_params": {"stackdef": ["t2", "s", "g3", "b3", "h10"]},
}
FORECAST: Json = {
    "connector": "csvts",
    "separator": ",",
    "scale": True,
    "backcast_timesteps": 20,
    "forecast_timesteps": 10,
    "ignore": ["output"],
}
DIMENSIONS = ("L1_max_error_0", "L1_mean_error_0", "MASE_0", "MAE_0", "MSE_0", "sMAPE_0", "MAPE_0")


@pytest.fixture(scope="module")
def waves(root: Path) -> dict[str, Path]:
    """Folders of tables with the columns output and input, which lies between -1 and 1."""
    folders = {name: root / "waves" / name for name in ("train", "test", "other")}
    for name, numbers in (("train", (0, 1)), ("test", (2,)), ("other", (3,))):
        folders[name].mkdir(parents=True)
        for number in numbers:
            wave = np.sin((np.arange(STEPS) + number) * np.pi / 8)
            wave[:16] = np.sin(np.arange(16) * np.pi / 8)
            rows = "".join(f"{-each:.8f},{each:.8f}\n" for each in wave)
            (folders[name] / f"seq_{number}.csv").write_text("output,input\n" + rows)
    return folders


@pytest.mark.promise("templates.nbeats", "predict.torch.extract_layer")
def test_csvts_nbeats(client: Client, waves: dict[str, Path]) -> None:
    client.create("nbeats", FORECAST | {"db": True}, NBEATS)
    measures = ["L1_all", "L2", "mase_all", "mae_all", "mse_all", "smape_all", "mape_all"]
    data = [waves["train"], waves["test"], waves["other"]]
    body = client.train("nbeats", data, solving(3), measures, offset=10)
    told = body["measure"]
    assert {"L1_max_error", "L1_mean_error", "L2_mean_error", *DIMENSIONS} <= set(told)
    assert "L2_max_error_0" not in told
    assert told["MAE_0"] == pytest.approx(2 * told["L1_mean_error_0"], abs=1e-5)
    assert [each["test_name"] for each in body["measures"]] == ["test", "other"]
    sent = body["parameters"]["input"]
    assert sent == {"connector": "csvts", "min_vals": [-1.0], "max_vals": [1.0]}
    file = waves["test"] / "seq_2.csv"
    found = client.predict("nbeats", [waves["test"]])
    assert [each["uri"] for each in found][:2] == [f"{file} #0_29", f"{file} #30_59"]
    steps = found[0]["series"]
    assert [list(each) for each in steps] == [["out"]] * 9 + [["last", "out"]]
    assert all(type(value) is float and value >= -10 for step in steps for value in step["out"])
    lines = "\n".join(file.read_text().splitlines()[:21])
    (memory,) = client.predict("nbeats", [lines])
    assert (memory["uri"], len(memory["series"])) == ("0", 10)
    told = client.dd.get_service("nbeats")["body"]
    assert (told["mltype"], told["width"], told["height"]) == ("timeserie", 1, 1)
    stats = told["service_stats"]
    counts = [stats[f"predict_{kind}"] for kind in ("count", "success", "failure")]
    assert counts == [2, 2, 0]
    assert stats["inference_count"] == len(found) + 1
    assert stats["avg_batch_size"] == (len(found) + 1) / 2
    assert stats["total_predict_duration_ms"] > 0
    extracted = client.predict("nbeats", [waves["test"]], {"extract_layer": "2:0:fc3"})
    assert [len(each["vals"]) for each in extracted] == [10] * len(found)
    assert [each.get("last", False) for each in extracted] == [False] * (len(found) - 1) + [True]


def test_nbeats_resume_fail(client: Client, waves: dict[str, Path]) -> None:
    client.create("unborn", FORECAST, NBEATS)
    data = [waves["train"], waves["test"]]
    with pytest.raises(DDCommunicationError) as wrong:
        client.train("unborn", data, solving(2) | {"resume": True}, ["L1"])
    assert refused(wrong) == (
        *(400, 1006),
        "Service Bad Request Error: resuming a model requires a solverstate (solver-xxx.pt) "
        "file in model repository",
    )


@pytest.mark.promise("templates.recurrent")
def test_graph_of_lstms(client: Client, waves: dict[str, Path]) -> None:
    connector = {"connector": "csvts", "label": ["output"], "scale": True}
    mllib = {"template": "recurrent", "layers": ["L10", "L10"], "dropout": [0.0, 0.0], "loss": "L1"}
    client.create("lstm", connector, mllib)
    training = solving(2, solver_type="RMSPROP", base_lr=0.01)
    data = [waves["train"], waves["test"]]
    every = ["L1_all", "L2_all", "mase_all", "mape_all", "smape_all", "owa_all", "mae_all"]
    body = client.train("lstm", data, training, every, timesteps=20)
    assert all(body["measure"][name] > 0 for name in (*DIMENSIONS[:4], "L2_mean_error_0", "OWA_0"))
    bounds = body["parameters"]["input"]
    assert (len(bounds["min_vals"]), len(bounds["max_vals"])) == (2, 2)
    file = waves["test"] / "seq_2.csv"

    def continued() -> Json:
        own = {"timesteps": 20, "continuation": True}
        answer = client.dd.post_predict("lstm", [str(file)], own, {}, {})
        (found,) = answer["body"]["predictions"]
        assert found["uri"] == f"{file} #0_{STEPS - 1}"
        assert len(found["series"]) == STEPS
        assert found["series"][0]["out"][0] >= -2
        return dict(found)

    before = continued()
    client.dd.delete_service("lstm", clear="mem")
    client.create("lstm", connector, mllib)
    assert continued()["series"][5]["out"] == pytest.approx(before["series"][5]["out"], abs=1e-5)
    (layer,) = client.predict("lstm", [file], {"extract_layer": "LSTM_1"})
    assert len(layer["vals"]) == STEPS * 10
    with pytest.raises(DDCommunicationError) as unknown:
        client.predict("lstm", [file], {"extract_layer": "nothing"})
    assert "unknown extract layer nothing; there is: last, data, LSTM_0, " in refused(unknown)[2]
