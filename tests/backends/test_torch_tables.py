"""Services of tables: classes, labels, numbers and rows given back, by a perceptron."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.scores import Scores
from ddstream.backends.torch.training.loader import Loader, Reading
from ddstream.connectors.storage.streams import Held
from ddstream.data import Stacked
from ddstream.errors import ParameterError
from tests.backends.tables import MLP, TableService, points

SIDE: dict[str, Any] = {
    "connector": "csv",
    "label": "side",
    "id": "name",
    "ignore": ["sum", "difference"],
}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> TableService:
    """A service that tells sides, trained, whose creation does not say how many there are."""
    folder = tmp_path_factory.mktemp("sides")
    service = TableService(folder, MLP, {**SIDE, "scale": True, "test_split": 0.25})
    service.train(points(folder))
    return service


@pytest.mark.promise(
    "services.input.csv.label",
    "services.input.csv.id",
    "services.input.csv.ignore",
    "services.input.csv.scale",
    "predict.csv_file",
)
def test_a_service_tells_classes_of_rows_by_what_its_creation_says(sides: TableService) -> None:
    found = sides.predict(sides.folder / "points.csv", best=1)
    assert [each["uri"] for each in found] == [f"p{number}" for number in range(200)]
    cells = [line.split(",") for line in (sides.folder / "points.csv").read_text().split()[1:]]
    right = [each["classes"][0]["cat"] == row[3] for each, row in zip(found, cells, strict=True)]
    assert np.mean(right) > 0.95
    assert sides.repository.classes() == list(dict.fromkeys(row[3] for row in cells))
    line = sides.predict("0.9,-0.9")
    assert line[0]["classes"] == [{"last": True, "prob": pytest.approx(1, abs=0.1), "cat": "right"}]


@pytest.mark.promise("predict.measure")
def test_labelled_rows_are_measured(sides: TableService) -> None:
    assert sides.measure(sides.folder / "points.csv", ["acc", "f1"])["acc"] > 0.95


@pytest.mark.promise(
    "services.input.csv.label_offset",
    "services.input.csv.separator",
    "services.input.csv.quote",
    "services.input.csv.scale_type",
    "services.input.csv.categoricals",
    "services.input.csv.db",
)
def test_parameters_of_the_creation_are_those_of_its_trainings(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a;w;y\n1;'x;1';1\n3;z;2\n")
    service = TableService(
        tmp_path,
        MLP,
        {
            "connector": "csv",
            "label": "y",
            "label_offset": -1,
            "separator": ";",
            "quote": "'",
            "scale": True,
            "scale_type": "znorm",
            "categoricals": ["w"],
            "db": True,
        },
    )
    sets = service.datasets(table, table)
    samples = [sets.train.read(index, None) for index in range(2)]
    assert [each.inputs["row"].tolist() for each in samples] == [[-1, 1, -1], [1, -1, 1]]
    assert [each.target for each in samples] == [0, 1]
    assert (tmp_path / "model" / "train.lmdb").is_file()
    # And of what follows, without a word of them.
    later = TableService(tmp_path, MLP, {"connector": "csv"}).connector()
    assert getattr(later.parameters, "separator", None) == ";"


def test_several_numbers_are_told_with_the_names_of_their_columns(tmp_path: Path) -> None:
    mllib = {**MLP, "ntargets": 2, "loss": "L2"}
    names = {"label": ["sum", "difference"], "ignore": ["side", "name"]}
    service = TableService(tmp_path, mllib, {"connector": "csv", "test_split": 0.1, **names})
    service.train(points(tmp_path))
    (found,) = service.predict("0.5,-0.25")
    assert [each["cat"] for each in found["vector"]] == ["difference", "sum"]
    values = {each["cat"]: each["val"] for each in found["vector"]}
    assert values == {
        "sum": pytest.approx(0.25, abs=0.1),
        "difference": pytest.approx(0.75, abs=0.1),
    }
    assert service.measure(tmp_path / "points.csv", ["eucll"])["eucll"] < 0.05


def test_an_autoencoder_tells_rows_that_are_not_like_those_of_its_training(tmp_path: Path) -> None:
    mllib = {"template": "mlp", "template_params": {"layers": [32, 2, 32], "activation": "tanh"}}
    ignored = {"ignore": ["name", "side"], "autoencoder": True, "test_split": 0.1}
    service = TableService(tmp_path, mllib, {"connector": "csv", **ignored})
    progress = service.train(points(tmp_path))
    (last,) = progress[-1].measures or ()
    assert last["eucll"] < 0.2
    assert "best_model.txt" in {each.name for each in service.repository.path.iterdir()}
    assert service.backend().mltype == "autoencoder"
    like, unlike = service.predict("0.5,-0.25,0.25,0.75\n0.5,-0.25,-2,3")
    assert set(like) == {"uri", "classes", "losses"}
    ((loss,), (other,)) = (like["losses"], unlike["losses"])
    assert loss["last"] is True
    assert other["loss"] > 2 * loss["loss"]
    measured = service.measure(tmp_path / "points.csv", ["eucll", "l1", "acc"])
    assert measured["eucll"] == measured["l1"] == pytest.approx(last["eucll"], abs=0.1)
    assert "acc" not in measured


def test_a_service_without_columns_waits_for_its_first_training(tmp_path: Path) -> None:
    service = TableService(tmp_path, {**MLP, "nclasses": 2}, SIDE)
    assert service.backend().trained is False
    with pytest.raises(ParameterError, match="waits for its first training: the columns of mlp"):
        service.backend().forward(None, service.backend().call_parameters(service.mllib))  # type: ignore[arg-type]


def test_whole_batches_are_the_same_as_single_samples(tmp_path: Path) -> None:
    service = TableService(tmp_path, {**MLP, "nclasses": 2}, {**SIDE, "test_split": 0.2})
    train = service.datasets(points(tmp_path)).train
    assert isinstance(train, Stacked)
    apart = Held(train.name, [train.read(index, None) for index in range(len(train))])
    assert not isinstance(apart, Stacked)
    reading = Reading(size=7, shuffle=True, seed=3, training=True)
    pairs = zip(
        Loader(train, reading, Scores(TorchParameters())).batches(0, 40),
        Loader(apart, reading, Scores(TorchParameters())).batches(0, 40),
        strict=True,
    )
    for one, other in pairs:
        assert torch.equal(one.inputs["row"], other.inputs["row"])
        assert torch.equal(one.targets["scores"], other.targets["scores"])
        assert [each.uri for each in one.samples] == [each.uri for each in other.samples]
        assert [each.target for each in one.samples[1:3]] == [
            each.target for each in other.samples[1:3]
        ]
