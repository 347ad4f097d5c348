"""Tables of predictions: files, lines with and without a header, by what a training has left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.connectors.tables.connector import CsvConnector
from ddstream.data import Datum
from ddstream.errors import InputError
from tests.connectors.tables.sets import (
    COLUMNS,
    HOUSES,
    ROWS,
    connector,
    everything,
    made,
    read,
    rows,
    told,
    written,
)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder with a repository that has learned the houses."""
    houses = written(tmp_path)
    made(tmp_path, houses, houses, **COLUMNS)
    return tmp_path


@pytest.mark.promise("predict.csv_file", "predict.input.csv.id")
def test_a_file_gives_a_row_a_prediction_named_by_its_id(trained: Path) -> None:
    houses = trained / "houses.csv"
    for used in (connector(trained), connector(trained, id="id")):
        found = read(used, houses)
        assert rows(found) == ROWS
        assert [each.uri for each in found] == ["h1", "h2", "h3", "h4"]
        assert [each.target for each in found] == [None] * 4
    # Another column may name the rows; without one that is the number of the row in the call.
    assert [each.uri for each in read(connector(trained, id="rooms"), houses)][:2] == ["2", "5"]
    bare = written(trained, HOUSES.replace("id,", "", 1).replace("h", "", 0), "bare.csv")
    bare.write_text("rooms,kind,area\n1,flat,2\n3,house,4\n")
    assert [each.uri for each in read(connector(trained), bare, bare)] == ["1", "2", "3", "4"]
    with pytest.raises(InputError, match="cannot find id column id"):
        read(connector(trained, id="id"), bare)


def test_columns_are_found_by_the_names_of_a_header(trained: Path) -> None:
    turned = written(trained, 'area,id,kind,rooms\n60,x,"boat, old",4\n', "turned.csv")
    (sample,) = read(connector(trained), turned)
    assert (rows([sample]), sample.uri) == ([ROWS[3]], "x")


@pytest.mark.parametrize(
    "line",
    ["h4,4,flat,60,yes", "h4,4,flat,60", "4,flat,60", '"4","flat",60\r\n', b"4,flat,60\n"],
)
def test_a_line_without_a_header_may_lack_label_and_id(trained: Path, line: str | bytes) -> None:
    (sample,) = read(connector(trained), line)
    assert rows([sample]) == [[4, 1, 0, 0, 60]]
    assert sample.uri == ("h4" if line[:1] == "h" else "1")


def test_many_lines_may_be_one_string_and_a_header_counts_for_what_follows(trained: Path) -> None:
    used = connector(trained)
    lines = "\ufeffkind,rooms,area\r\nhouse,1,2\r\n\r\nflat,3,4"
    found = read(used, lines, "flat,5,6", "flat,7,8\nflat,9,9")
    assert [each[0] for each in rows(found)] == [1, 3, 5, 7, 9]
    assert [each.uri for each in found] == ["1", "2", "3", "4", "5"]
    assert rows(read(used, "kind,rooms,area", "house,1,2")) == [[1, 0, 1, 0, 2]]
    quoted = made(
        trained / "q",
        written(trained, 'a,y\n"x\ny",0\nz,1\n', "q.csv"),
        test_split=0.5,
        label="y",
        categoricals="a",
    )
    assert quoted.learned["categoricals_mapping"] == {"a": {"x y": 0, "z": 1}}
    assert rows(read(connector(trained / "q"), '"x\ny"\nz')) == [[1, 0], [0, 1]]


def test_bytes_that_come_alone_keep_their_name(trained: Path) -> None:
    used = connector(trained)
    assert isinstance(used, CsvConnector)

    def names(content: bytes) -> list[str]:
        return [sample.uri for sample in used.read(Datum("topic/0/7", content))]

    assert names(b"4,flat,60") == ["topic/0/7"]
    assert names(b"4,flat,60\n4,flat,60") == ["topic/0/7 #1", "topic/0/7 #2"]
    assert names(b"h9,4,flat,60") == ["h9"]
    assert names(b"rooms,kind,area\n4,flat,60") == ["1"]


@pytest.mark.promise("predict.input.csv.separator", "predict.input.csv.quote")
def test_separator_and_quote_are_those_of_the_call_else_of_the_training(tmp_path: Path) -> None:
    houses = written(tmp_path, HOUSES.replace('"', "'").replace(",", ";"))
    made(tmp_path, houses, houses, separator=";", quote="'", **COLUMNS)
    wanted = [[4, 0, 0, 1, 60]]
    assert rows(read(connector(tmp_path), "4;'boat; old';60")) == wanted
    assert rows(read(connector(tmp_path, separator="|", quote="`"), "4|`boat; old`|60")) == wanted


@pytest.mark.promise("predict.input.csv.ignore")
def test_columns_that_the_model_does_not_know_have_to_be_ignored(trained: Path) -> None:
    more = written(trained, "rooms,kind,area,garden\n1,flat,2,big\n", "more.csv")
    with pytest.raises(InputError, match=r"column garden .* name it in parameters\.input\.ignore"):
        read(connector(trained), more)
    assert rows(read(connector(trained, ignore=["garden"]), more)) == [[1, 1, 0, 0, 2]]
    with pytest.raises(InputError, match="column area is ignored, the model was trained with it"):
        read(connector(trained, ignore=["area", "garden"]), more)


@pytest.mark.promise("predict.input.csv.scale")
@pytest.mark.parametrize("raw", [{}, {"scale": True}, {"scale": False}])
def test_rows_are_scaled_as_the_training_has_scaled_them(
    tmp_path: Path, raw: dict[str, Any]
) -> None:
    houses = written(tmp_path)
    sets = made(tmp_path, houses, houses, scale=True, **COLUMNS)
    used = connector(tmp_path, **raw)
    assert rows(read(used, houses)) == rows(everything(sets.train))
    assert rows(read(used, "5,flat,120"))[0] == [1, 1, 0, 0, 1]


@pytest.mark.promise("predict.input.csv.min_vals", "predict.input.csv.categoricals_mapping")
def test_what_a_training_returned_may_be_sent_back(trained: Path, tmp_path: Path) -> None:
    houses = trained / "houses.csv"
    sets = made(tmp_path / "scaled", houses, houses, scale=True, **COLUMNS)
    wanted = rows(everything(sets.train))
    sent = {name: each for name, each in sets.learned.items() if name != "connector"}
    # To a service that was trained without scaling, and to one that nobody trained here.
    assert rows(read(connector(trained, **sent), houses)) == wanted
    untrained = connector(tmp_path / "other", label="sold", id="id", **sent)
    assert rows(read(untrained, houses)) == wanted
    assert rows(read(untrained, "id,rooms,kind,area", "x,5,flat,120")) == [[1, 1, 0, 0, 1]]
    turned = {"kind": {"house": 0, "flat": 1, "boat, old": 2}}
    used = connector(trained, categoricals_mapping=turned)
    assert rows(read(used, "5,flat,120")) == [[5, 0, 1, 0, 120]]
    for mapping, said in (
        ({"kind": {"house": 0}}, "makes 3 columns, the model has 5"),
        ({"roof": {"house": 0}}, "roof is no input of the model"),
    ):
        with pytest.raises(InputError, match=said):
            read(connector(trained, categoricals_mapping=mapping), houses)


def test_scaling_without_values_is_refused(trained: Path) -> None:
    for kind, said in (
        ("minmax", "failed acquiring scaling min_vals or max_vals"),
        ("znorm", "failed acquiring scaling mean_vals or variance_vals"),
    ):
        with pytest.raises(InputError, match=said):
            read(connector(trained, scale=True, scale_type=kind), "5,flat,120")
    with pytest.raises(InputError, match="max_vals must have as many"):
        connector(trained, min_vals=[1])


@pytest.mark.promise("predict.measure")
def test_labelled_rows_have_the_targets_of_the_training(trained: Path) -> None:
    used = connector(trained)
    found = told(used, trained / "houses.csv", nclasses=2)
    assert [each.target for each in found] == [0, 1, 0, 1]
    assert [each.target for each in told(used, "h4,4,flat,60,yes")] == [1]
    with pytest.raises(InputError, match="has no label column sold"):
        told(used, "h4,4,flat,60")
    with pytest.raises(InputError, match="label maybe found in test set but not in train set"):
        told(used, "h4,4,flat,60,maybe")


def test_what_cannot_be_read_is_told(trained: Path) -> None:
    used = connector(trained)
    for line, said in (
        ("x,flat,2", "line 1 of 0, column rooms: 'x' is not a number"),
        ("1,flat,2\n1,flat,", "line 2 of 0, column area: '' is not a number"),
        ("1,tent,2", "line 1 of 0: unknown category tent for variable kind"),
        ("1,flat", "line 1 of 0 has 2 cells for 3 columns"),
        ("1,flat,2\n1,flat", "line 2 of 0 has 2 cells for 3 columns"),
        ("1,2,3,4,5,6", "line 1 of 0: line has more columns than headers"),
        ("", "0 holds no row"),
        (b"1,\xff,2", "is no text of UTF-8"),
    ):
        with pytest.raises(InputError, match=said):
            read(used, line)
    empty = written(trained, "", "empty.csv")
    with pytest.raises(InputError, match="is empty: a header is expected"):
        read(used, empty)
    with pytest.raises(InputError, match="is an array"):
        list(used.read(Datum("0", np.zeros((2, 2)))))


def test_folders_are_read_file_by_file(trained: Path) -> None:
    for name in ("b.csv", "a.csv"):
        written(trained / "many", HOUSES, name)
    assert len(read(connector(trained), trained / "many")) == 8


def test_without_a_training_lines_are_numbers(tmp_path: Path) -> None:
    used = connector(tmp_path)
    assert used.dimensions().columns == 0
    assert used.describe() == {}
    assert rows(read(used, "1,2.5", "3,4")) == [[1, 2.5], [3, 4]]
    assert rows(read(used, "a,b\n1,2.5")) == [[1, 2.5]]
    with pytest.raises(InputError, match="1 cells for 2"):
        read(used, "1,2", "1")


def test_a_service_tells_its_columns(trained: Path) -> None:
    used = connector(trained)
    assert used.describe() == {"width": 5, "height": 1}
    assert used.dimensions().outputs == 2
    assert getattr(used.parameters, "label", None) == ("sold",)
