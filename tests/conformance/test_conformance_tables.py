"""Every Api: tables and sparse rows are trained with, told of and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.api.envelope import Json
from ddstream.api.parameters import envelope
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import TrainRequest
from ddstream.errors import InputError
from tests.conformance.calls import Desk

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


def _table(folder: Path) -> Path:
    path = folder / "points.csv"
    points = np.random.default_rng(0).uniform(-1, 1, (40, 2)).round(3)
    rows = [f"p{i},{x},{y},{'up' if y > 0 else 'down'}" for i, (x, y) in enumerate(points)]
    path.write_text("\n".join(["name,x,y,way", *rows]) + "\n")
    return path


def _lines(folder: Path) -> Path:
    path = folder / "points.svm"
    path.write_text("".join(f"{number % 2} {number % 2 + 1}:1 9:0.5\n" for number in range(20)))
    return path


async def _create(desk: Desk, connector: Json, mllib: Json | None = None) -> None:
    body = desk.definition()
    options = {"template": "mlp", "nclasses": 2, **(mllib or {})}
    body["parameters"] = {"input": connector, "mllib": options}
    created = await desk.api.create_service(desk.name, envelope(ServiceDefinition, body))
    assert any("parameters.input.lable is unknown" in each for each in created.head["warnings"])


async def _train(desk: Desk, path: Path, **inputs: Any) -> Json:
    solver = {"iterations": 5, "base_lr": 0.05, "solver_type": "ADAM"}
    parameters = {
        "input": {"test_split": 0.25, "shuffle": True, "seed": 1, **inputs},
        "mllib": {"solver": solver, "net": {"batch_size": 16}},
        "output": {"measure": ["acc"]},
    }
    body = {"service": desk.name, "async": False, "data": [str(path)], "parameters": parameters}
    return dict((await desk.api.train(envelope(TrainRequest, body))).body)


@pytest.mark.promise(
    "services.input", "services.output", "services.input.csv.label", "predict.csv_file"
)
async def test_a_table_is_learned_and_told(desk: Desk, folder: Path) -> None:
    path = _table(folder)
    columns = {"connector": "csv", "label": "way", "id": "name", "scale": True, "lable": "way"}
    await _create(desk, columns)
    report = await _train(desk, path)
    assert report["measure"]["iteration"] == 5
    sent = report["parameters"]["input"]
    assert (sent["connector"], len(sent["min_vals"]), len(sent["max_vals"])) == ("csv", 2, 2)
    service = (await desk.api.get_service(desk.name, labels=True)).body
    assert sorted(service["labels"]) == ["down", "up"]
    assert (service["width"], service["height"], service["trained"]) == (2, 1, True)
    whole = (await desk.predict([str(path)], best=2)).body["predictions"]
    assert [each["uri"] for each in whole] == [f"p{number}" for number in range(40)]
    row = path.read_text().splitlines()[1]
    (line,) = (await desk.predict([row], best=2)).body["predictions"]
    assert line["uri"] == "p0"
    assert line["classes"][0]["prob"] == pytest.approx(whole[0]["classes"][0]["prob"], abs=1e-5)
    measured = (await desk.predict([str(path)], measure=["acc"])).body["measure"]
    assert 0 <= measured["acc"] <= 1
    with pytest.raises(InputError, match="column y: 'high' is not a number"):
        await desk.predict(["0.5,high"])


@pytest.mark.promise("connectors.svm")
async def test_sparse_rows_are_learned_and_told(desk: Desk, folder: Path) -> None:
    path = _lines(folder)
    await _create(desk, {"connector": "svm", "lable": "way"})
    assert (await _train(desk, path))["parameters"]["input"] == {"connector": "svm"}
    found = (await desk.predict(["1:1 7:3", "2:1"])).body["predictions"]
    assert [each["uri"] for each in found] == ["1", "2"]
    assert len((await desk.predict([str(path)])).body["predictions"]) == 20
    with pytest.raises(InputError, match="Issue while reading svm example"):
        await desk.predict(["7:3"])
