"""Every Api: tables and sparse rows are trained with, told of and measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ddstream.api.envelope import Json
from ddstream.api.parameters import envelope
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import TrainRequest
from ddstream.errors import InputError
from tests.backends.tables import MLP, TableService
from tests.conformance.calls import Desk

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


def _table(folder: Path) -> Path:
    path = folder / "points.csv"
    points = np.random.default_rng(0).uniform(-1, 1, (40, 2)).round(3)
    rows = [f"p{i},{x},{y},{'up' if y > 0 else 'down'}" for i, (x, y) in enumerate(points)]
    path.write_text("\n".join(["name,x,y,way", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def sparse(folder: Path) -> TableService:
    """A service of sparse rows, trained once for all Apis."""
    path = folder / "sparse" / "points.svm"
    made = TableService(path.parent, {**MLP, "nclasses": 2}, {"connector": "svm"})
    if not path.exists():
        path.parent.mkdir()
        rows = (f"{number % 2} {number % 2 + 1}:1 9:0.5\n" for number in range(20))
        path.write_text("".join(rows))
        made.train(path, path)
    return made


async def _create(desk: Desk, connector: Json) -> None:
    body = desk.definition()
    body["parameters"] = {"input": connector, "mllib": {**MLP, "nclasses": 2}}
    created = await desk.api.create_service(desk.name, envelope(ServiceDefinition, body))
    assert any("parameters.input.lable is unknown" in each for each in created.head["warnings"])


async def _train(desk: Desk, path: Path) -> Json:
    solver = {"iterations": 5, "base_lr": 0.05, "solver_type": "ADAM"}
    parameters = {
        "input": {"test_split": 0.25, "shuffle": True, "seed": 1},
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
async def test_sparse_rows_are_told_by_a_model_that_was_trained_before(
    desk: Desk, sparse: TableService
) -> None:
    shutil.copytree(sparse.folder / "model", desk.repository)
    await _create(desk, {"connector": "svm", "lable": "way"})
    found = (await desk.predict(["1:1 7:3", "2:1"])).body["predictions"]
    assert [(each["uri"], each["classes"][0]["cat"]) for each in found] == [("1", "0"), ("2", "1")]
    path = str(sparse.folder / "points.svm")
    assert len((await desk.predict([path])).body["predictions"]) == 20
    assert (await desk.predict([path], measure=["acc"])).body["measure"]["acc"] == 1
    with pytest.raises(InputError, match="Issue while reading svm example"):
        await desk.predict(["7:3"])
