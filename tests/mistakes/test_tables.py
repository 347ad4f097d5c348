"""Mistakes with tables and sparse rows: each is told by the name of what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
import torch

from ddstream.api.csv import CsvInput
from ddstream.data import Dimensions
from ddstream.deepdetect import DeepDetect, DeepDetectError
from ddstream.errors import InputError, ParameterError
from ddstream.measures.classification import MOST_PAIRED, compute
from ddstream.templates import TEMPLATES
from tests.backends.tables import MLP, SOLVER, TableService, points
from tests.connectors.tables.sets import COLUMNS, HOUSES, connector, made, read, written

CSV: Mapping[str, Any] = {"connector": "csv", "label": "side", "ignore": ["name"]}


@pytest.fixture(scope="module")
def dd() -> Iterator[DeepDetect]:
    with DeepDetect() as dd:
        yield dd


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"separator": ";;"}, r"parameters\.input\.separator: string should have at most 1"),
        ({"separator": "\\t"}, r"parameters\.input\.separator: string should have at most 1"),
        ({"quote": "''"}, r"parameters\.input\.quote: string should have at most 1"),
        ({"label": ["a", "b", "a"]}, r"parameters\.input\.label: a is there twice"),
    ],
)
def test_options_that_mean_nothing_are_refused(raw: Mapping[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        CsvInput.parse(raw, "parameters.input", InputError)


@pytest.mark.parametrize(
    ("text", "raw", "told"),
    [
        (HOUSES, {"ignore": ["sold"]}, r"parameters\.input\.ignore: sold is the label"),
        (
            HOUSES.replace(",", ";"),
            {},
            r"cannot find id column id in .*: its columns are 'id;rooms;kind;area;sold'",
        ),
        (
            HOUSES.replace("sold\n", "cost\n"),
            {},
            r"cannot find label column sold in .*: its columns are 'id', 'rooms', .* 'cost'",
        ),
        (
            f'{HOUSES}h5,1,"flat,9,no\nh6,1,flat,9,no\nh7,1,flat,9,no\n',
            {},
            r"line 6 of .*: a quote is opened and never closed",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_told_by_column_and_line(
    tmp_path: Path, text: str, raw: Mapping[str, Any], told: str
) -> None:
    table = written(tmp_path, text)
    with pytest.raises(InputError, match=told):
        made(tmp_path, table, table, **{**COLUMNS, **raw})


def test_a_path_that_is_not_there_is_no_row(tmp_path: Path) -> None:
    table = written(tmp_path)
    made(tmp_path, table, table, **COLUMNS)
    with pytest.raises(InputError, match=r"'hauses\.csv' is neither a file nor a row"):
        read(connector(tmp_path), "hauses.csv")
    with pytest.raises(InputError, match="line 1 of 0 has 1 cells for 3 columns"):
        read(connector(tmp_path), "7")


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"label": "sum"}, r"parameters\.input\.label: the training that goes on has side"),
        ({"categoricals": ["x"]}, r"parameters\.input\.categoricals: x was no column of words"),
    ],
)
def test_a_training_goes_on_with_its_own_columns(
    tmp_path: Path, over: Mapping[str, Any], told: str
) -> None:
    path = points(tmp_path, 9)
    connector = {**CSV, "ignore": ["name", "sum", "difference"]}
    TableService(tmp_path, {**MLP, "nclasses": 2}, connector).datasets(path, path)
    resumed = TableService(tmp_path, {**MLP, "nclasses": 2, "resume": True}, connector)
    assert resumed.datasets(path, path)
    with pytest.raises(InputError, match=told):
        resumed.datasets(path, path, **over)


def test_a_number_too_large_is_told_by_its_file(tmp_path: Path) -> None:
    rows = written(tmp_path, "1 1:2\n0 1:1e39\n", "rows.svm")
    with pytest.raises(InputError, match=r"line 2 of .*rows\.svm: a value is too large"):
        made(tmp_path, rows, rows, kind="svm", mllib={"nclasses": 2})


def test_only_the_whole_matrix_of_many_classes_is_refused() -> None:
    scores, targets = np.zeros((2, MOST_PAIRED + 1)), np.array([0, MOST_PAIRED])
    scores[0, 0] = 1
    assert compute(["f1", "mcc", "cmdiag"], scores, targets)["accp"] == 0.5
    with pytest.raises(ParameterError, match="measure cmfull: 10001 classes are too many"):
        compute(["cmfull"], scores, targets)


def test_calls_are_told_of_measures_and_connectors_of_other_services(
    dd: DeepDetect, tmp_path: Path
) -> None:
    service = TableService(tmp_path, {**MLP, "nclasses": 2}, CSV)
    path = points(tmp_path, 9)
    service.train(path, path, **{"ignore": ["name", "sum", "difference"]})
    created = dd.create_service(
        "measured",
        model={"repository": service.repository.path},
        mllib="torch",
        input_parameters=CSV,
        mllib_parameters={**MLP, "nclasses": 2},
    )
    template = "{{#head}}{{#warnings}}{{.}};{{/warnings}}{{/head}}"
    said = created.predict(
        [path], output_parameters={"measure": ["acc", "L1"], "template": template}
    )
    assert said["text"] == "parameters.output.measure L1 is no measure of classification;"
    for call in (created.predict, created.train):
        with pytest.raises(DeepDetectError, match=r"input\.connector: .* 'csv'"):
            call([path], input_parameters={"connector": "txt"}, mllib_parameters=SOLVER)
    created.delete()


def test_before_a_training_nothing_is_known_of_the_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot find id column id .* before the first training"):
        read(connector(tmp_path, **COLUMNS), "h9,4,flat,60")


def test_a_repository_that_is_gone_cannot_be_trained_in(dd: DeepDetect, tmp_path: Path) -> None:
    service = dd.create_service(
        "gone",
        model={"repository": tmp_path / "gone", "create_repository": True},
        mllib="torch",
        input_parameters=CSV,
        mllib_parameters={**MLP, "nclasses": 2},
    )
    rmtree(tmp_path / "gone")
    with pytest.raises(DeepDetectError) as found:
        service.train([points(tmp_path, 9)], mllib_parameters={"solver": {"iterations": 1}})
    assert found.value.dd_code == 1006
    assert "gone is there no more" in found.value.message
    assert not service.info()["jobs"]
    service.delete()


@pytest.mark.parametrize(
    ("dimensions", "sample", "told"),
    [
        (Dimensions(columns=9), torch.zeros(1, 4), "samples of 4 numbers: the model takes 9"),
        (Dimensions(columns=9), torch.zeros(1, 9, dtype=torch.int64), "the samples are ids"),
        (Dimensions(steps=3, vocabulary=5), torch.zeros(1, 3), "the samples are numbers"),
    ],
)
def test_a_perceptron_refuses_samples_of_another_connector(
    dimensions: Dimensions, sample: torch.Tensor, told: str
) -> None:
    model = TEMPLATES.load("mlp")(dimensions, {"nclasses": 2, "layers": [4]})
    with pytest.raises(InputError, match=told):
        model(sample)
