"""Tables of trainings: columns, words, labels, scaling, splits, and what is kept of them."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.errors import InputError, ParameterError
from tests.connectors.tables.sets import (
    COLUMNS,
    HOUSES,
    ROWS,
    connector,
    everything,
    made,
    read,
    rows,
    written,
)

NUMBERS = "a,b,y\n1,10,0\n2,10,1\n3,10,0\n5,10,1\n"


@pytest.mark.promise(
    "train.input.csv.label",
    "train.input.csv.id",
    "train.input.csv.categoricals",
    "train.input.csv.categoricals_mapping",
)
def test_columns_words_ids_and_labels_of_a_table(tmp_path: Path) -> None:
    houses = written(tmp_path)
    sets = made(tmp_path, houses, houses, **COLUMNS)
    found = everything(sets.train)
    assert rows(found) == ROWS
    assert [sample.uri for sample in found] == ["h1", "h2", "h3", "h4"]
    assert [sample.target for sample in found] == [0, 1, 0, 1]
    assert sets.classes == ("no", "yes")
    mapping = {"kind": {"flat": 0, "house": 1, "boat, old": 2}}
    assert sets.learned == {"connector": "csv", "categoricals_mapping": mapping}
    assert (sets.dimensions.columns, sets.dimensions.outputs) == (5, 2)
    given = {"kind": {"boat, old": 0, "flat": 1, "house": 2}}
    other = made(tmp_path, houses, houses, label="sold", id="id", categoricals_mapping=given)
    assert rows(everything(other.train))[3] == [4, 1, 0, 0, 60]


@pytest.mark.promise("train.input.csv.ignore")
def test_ignored_columns_are_left_out(tmp_path: Path) -> None:
    houses = written(tmp_path)
    sets = made(tmp_path, houses, houses, label="sold", ignore=["id", "kind", "garden"])
    assert rows(everything(sets.train)) == [[row[0], row[4]] for row in ROWS]
    assert list(sets.warnings) == ["parameters.input.ignore: there is no column garden"]
    assert [each.uri for each in everything(sets.train)] == ["1", "2", "3", "4"]


@pytest.mark.promise("train.input.csv.label_offset")
def test_an_offset_moves_class_numbers(tmp_path: Path) -> None:
    table = written(tmp_path, "a,y\n5,1\n6,3\n")
    sets = made(tmp_path, table, table, label="y", label_offset=-1)
    assert [each.target for each in everything(sets.train)] == [0, 2]
    assert (sets.classes, sets.dimensions.outputs) == ((), 3)
    with pytest.raises(InputError, match=r"line 2 of .*'1' is a negative .*label_offset"):
        made(tmp_path, table, table, label="y", label_offset=-2)
    with pytest.raises(InputError, match=r"'3' is no class below 3 .*nclasses"):
        made(tmp_path, table, table, label="y", mllib={"nclasses": 3})


@pytest.mark.promise("train.input.csv.separator", "train.input.csv.quote")
def test_separator_and_quote_may_be_others(tmp_path: Path) -> None:
    houses = written(tmp_path, HOUSES.replace('"', "'").replace(",", ";"))
    sets = made(tmp_path, houses, houses, separator=";", quote="'", **COLUMNS)
    assert rows(everything(sets.train)) == ROWS
    assert "boat; old" in sets.learned["categoricals_mapping"]["kind"]


@pytest.mark.promise("train.input.csv.scale")
def test_columns_are_scaled_by_the_training_table_alone(tmp_path: Path) -> None:
    train, test = written(tmp_path, NUMBERS), written(tmp_path, "a,b,y\n9,11,1\n", "test.csv")
    sets = made(tmp_path, train, test, label="y", scale=True)
    # Equal bounds leave a column as it is; labels are never scaled.
    assert rows(everything(sets.train)) == [[0, 10], [0.25, 10], [0.5, 10], [1, 10]]
    assert rows(everything(sets.tests[0])) == [[2, 11]]
    assert sets.learned == {"connector": "csv", "min_vals": [1, 10], "max_vals": [5, 10]}
    normal = made(tmp_path, train, test, label="y", scale=True, scale_type="znorm")
    first = np.array(rows(everything(normal.train)))
    assert first[:, 0] == pytest.approx((np.array([1, 2, 3, 5]) - 2.75) / np.std([1, 2, 3, 5]))
    assert first[:, 1].tolist() == [0] * 4
    assert normal.learned["variance_vals"] == pytest.approx([2.1875, 0])


@pytest.mark.promise("train.input.csv.min_vals")
def test_values_to_scale_by_imply_scaling(tmp_path: Path) -> None:
    table = written(tmp_path, NUMBERS)
    sets = made(tmp_path, table, table, label="y", min_vals=[1, 0], max_vals=[3, 20])
    assert rows(everything(sets.train)) == [[0, 0.5], [0.5, 0.5], [1, 0.5], [2, 0.5]]
    with pytest.raises(InputError, match="min_vals has 1 values for 2 columns"):
        made(tmp_path, table, table, label="y", min_vals=[1], max_vals=[3])
    with pytest.raises(InputError, match="unknown scale type: cubic"):
        connector(tmp_path, scale_type="cubic")


def test_words_are_scaled_with_the_numbers(tmp_path: Path) -> None:
    houses = written(tmp_path)
    sets = made(tmp_path, houses, houses, scale=True, scale_type="znorm", **COLUMNS)
    wide = np.array(ROWS)
    wanted = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    assert np.array(rows(everything(sets.train))) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.promise("train.input.csv.test_split")
def test_a_split_holds_out_the_end(tmp_path: Path) -> None:
    houses = written(tmp_path)
    sets = made(tmp_path, houses, test_split=0.25, **COLUMNS)
    assert [each.uri for each in everything(sets.train)] == ["h1", "h2", "h3"]
    assert [each.uri for each in everything(sets.tests[0])] == ["h4"]
    assert sets.tests[0].name == "split"
    with pytest.raises(InputError, match="both a test split"):
        made(tmp_path, houses, houses, test_split=0.5, **COLUMNS)
    with pytest.raises(ParameterError, match="No data found in training dataset"):
        made(tmp_path, houses, test_split=0.9, **COLUMNS)


@pytest.mark.promise("train.input.csv.shuffle", "train.input.csv.seed")
def test_a_seed_shuffles_before_the_split_and_again_when_a_training_goes_on(
    tmp_path: Path,
) -> None:
    text = "a,y\n" + "".join(f"{number},0\n" for number in range(50))
    table = written(tmp_path, text)

    def tested(**raw: Any) -> list[list[float]]:
        mllib = {"resume": raw.pop("resume", False)}
        options = {"label": "y", "test_split": 0.2, "shuffle": True, **raw}
        sets = made(tmp_path, table, mllib=mllib, **options)
        assert (sets.shuffle, sets.seed) == (True, raw.get("seed", -1))
        return rows(everything(sets.tests[0]))

    assert tested(seed=3) == tested(seed=3) != tested(seed=4)
    assert tested(seed=3) != [[number] for number in range(40, 50)]
    random = tested()
    assert tested(resume=True) == random
    assert tested() != random


@pytest.mark.promise("train.input.csv.db")
def test_rows_on_disk_are_the_same_and_read_again(tmp_path: Path) -> None:
    houses = written(tmp_path)
    options = {**COLUMNS, "scale": True}
    memory = made(tmp_path / "memory", houses, test_split=0.25, **options)
    disk = made(tmp_path / "disk", houses, test_split=0.25, db=True, **options)
    again = made(tmp_path / "disk", houses, test_split=0.25, db=True, **options)
    for sets in (disk, again):
        assert rows(everything(sets.train)) == rows(everything(memory.train))
        assert [s.uri for s in everything(sets.tests[0])] == ["h4"]
        assert [s.target for s in everything(sets.train)] == [0, 1, 0]
        assert (sets.classes, sets.dimensions) == (memory.classes, memory.dimensions)
        assert {**sets.learned} == {**memory.learned}
    assert (tmp_path / "disk" / "model" / "train.lmdb").is_file()
    with pytest.raises(InputError, match=r"train\.lmdb was made with"):
        made(tmp_path / "disk", houses, test_split=0.25, db=True, label="sold", ignore=["kind"])


def test_rows_go_to_the_disk_in_constant_memory(tmp_path: Path) -> None:
    def peak(number: int) -> int:
        text = "a,b,c,y\n" + "1.5,2.25,3.125,1\n" * number
        table = written(tmp_path / str(number), text)
        tracemalloc.start()
        made(tmp_path / str(number), table, label="y", db=True, scale=True, test_split=0.1)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(2_000), peak(10_000)
    assert many < few + 200_000


def test_several_columns_are_targets_or_labels(tmp_path: Path) -> None:
    table = written(tmp_path, "a,hot,wet\n1,1,0\n2,0,1\n")
    names: dict[str, Any] = {"label": ["hot", "wet"]}
    numbers = made(tmp_path, table, table, mllib={"ntargets": 2}, **names, label_offset=[0, 5])
    assert numbers.classes == ("hot", "wet")
    target = everything(numbers.train)[0].target
    assert isinstance(target, np.ndarray)
    assert target.tolist() == [1, 5]
    assert target.dtype == np.float32
    several = {"multi_label": True, "nclasses": 2}
    labels = made(tmp_path, table, table, mllib=several, **names)
    assert [np.asarray(each.target).tolist() for each in everything(labels.train)] == [
        [1, 0],
        [0, 1],
    ]
    for mllib, said in (
        ({"nclasses": 2}, "several labels need"),
        ({"ntargets": 3}, "label names 2 columns, ntargets is 3"),
        ({"multi_label": True, "nclasses": 3}, "label names 2 columns, nclasses is 3"),
    ):
        with pytest.raises(InputError, match=said):
            made(tmp_path, table, table, mllib=mllib, **names)
    wrong = written(tmp_path, "a,hot,wet\n1,1,2\n", "wrong.csv")
    with pytest.raises(InputError, match="column wet: '2' is neither 0 nor 1"):
        made(tmp_path, wrong, wrong, mllib=several, **names)


def test_an_autoencoder_needs_no_label(tmp_path: Path) -> None:
    table = written(tmp_path, NUMBERS)
    sets = made(tmp_path, table, table, autoencoder=True)
    assert [each.target for each in everything(sets.train)] == [None] * 4
    assert (sets.dimensions.columns, sets.dimensions.outputs) == (3, 3)
    assert connector(tmp_path).dimensions() == sets.dimensions
    assert getattr(connector(tmp_path).parameters, "autoencoder", None) is True


def test_test_sets_follow_the_header_and_the_classes_of_the_training(tmp_path: Path) -> None:
    houses = written(tmp_path)
    turned = written(tmp_path, "sold,area,kind,rooms,id\nyes,60,flat,2,x\n", "turned.csv")
    (tmp_path / "more").mkdir()
    for name in ("1.csv", "2.csv"):
        written(tmp_path / "more", HOUSES, name)
    sets = made(tmp_path, houses, turned, tmp_path / "more", **COLUMNS)
    (sample,) = everything(sets.tests[0])
    assert (rows([sample]), sample.target, sample.uri) == ([[2, 1, 0, 0, 60]], 1, "x")
    assert [each.name for each in sets.tests] == ["turned.csv", "more"]
    assert len(sets.tests[1]) == 8
    for text, said in (
        (HOUSES.replace("h1,2,flat,50.5,no", "h1,2,flat,50.5,gone"), "label gone found in test"),
        (HOUSES.replace("flat", "tent"), "unknown category tent for variable kind"),
        (HOUSES.replace("rooms", "doors"), r"column doors of .* name it in .*ignore"),
        ("id,kind,area,sold\n", "has no column rooms"),
        ("", "is empty: a header is expected"),
    ):
        other = written(tmp_path, text, "other.csv")
        with pytest.raises(InputError, match=said):
            made(tmp_path, houses, other, **COLUMNS)


@pytest.mark.parametrize(
    ("text", "raw", "said"),
    [
        ("a,y\n1,0\nx,1\n", {}, r"line 3 of .*, column a: 'x' is not a number, use categoricals"),
        ("a,y\n1,0\n,1\n", {}, r"line 3 of .*, column a: '' is not a number"),
        ("a,y\n1,0\n1e300,1\n", {}, r"line 3 of .*, column a: the number is too large"),
        ("a,y\nnan,0\n", {}, r"'nan' is not a number"),
        ("a,y\n1,0\n1,2,3\n", {}, r"line 3 of .*: line has more columns than headers"),
        ("a,y\n1,0\n1\n", {}, r"line 3 of .* has 1 cells for 2 columns"),
        ('a,y\n1,0\n"1,2\n', {}, r"line 3 of "),
        ("a,y\n1,0.5\n", {}, r"'0.5' is no class number"),
        ("a,y\n1,\n", {}, r"line 2 of .*, column y: empty cell"),
        ("a,y\n,1\n", {"categoricals": "a"}, r"line 2 of .*, column a: empty cell"),
        ("a,a,y\n1,2,3\n", {}, "has two columns 'a'"),
        ("a,b\n1,2\n", {}, "cannot find label column y"),
        ("a,y\n1,2\n", {"id": "k"}, "cannot find id column k"),
        ("a,y\n1,2\n", {"categoricals": ["k"]}, "cannot find categorical column k"),
        ("y\n1\n", {}, "has no column that is an input"),
        ("a,y\n1,2000000\n", {}, "has a class id of 2000000"),
    ],
)
def test_what_cannot_be_read_is_told_by_line_and_column(
    tmp_path: Path, text: str, raw: dict[str, Any], said: str
) -> None:
    table = written(tmp_path, text)
    with pytest.raises(InputError, match=said):
        made(tmp_path, table, table, **{"label": "y", **raw})


def test_requests_that_cannot_be_are_refused(tmp_path: Path) -> None:
    table = written(tmp_path, NUMBERS)
    with pytest.raises(InputError, match="missing label column parameter"):
        made(tmp_path, table, table)
    with pytest.raises(InputError, match="missing data"):
        made(tmp_path, label="y")
    with pytest.raises(InputError, match="does not exist"):
        made(tmp_path, tmp_path / "none.csv", table, label="y")
    with pytest.raises(ParameterError, match="empty test dataset"):
        made(tmp_path, table, label="y")
    header = written(tmp_path, "a,b,y\n", "header.csv")
    for data in ((header, table), (table, header)):
        with pytest.raises(ParameterError):
            made(tmp_path, *data, label="y")
    for raw in (
        {"separator": ",", "quote": ","},
        {"label": ["a", "b", "c"], "label_offset": [1, 2]},
        {"min_vals": [1]},
        {"min_vals": [1], "max_vals": [2], "scale_type": "znorm"},
        {"mean_vals": [1], "variance_vals": [-1]},
        {"categoricals_mapping": {"a": {"x": 1}}},
    ):
        with pytest.raises(InputError):
            connector(tmp_path, **raw)


def test_a_training_that_goes_on_keeps_what_was_learned(tmp_path: Path) -> None:
    houses = written(tmp_path)
    first = made(tmp_path, houses, houses, scale=True, **COLUMNS)
    grown = written(tmp_path, HOUSES + "h5,50,house,900,yes\n", "grown.csv")
    again = made(tmp_path, grown, grown, mllib={"resume": True})
    assert again.learned == first.learned
    assert len(again.train) == 5
    assert rows(everything(again.train))[:4] == rows(everything(first.train))
    fresh = made(tmp_path, grown, grown, scale=True, **COLUMNS)
    assert fresh.learned["max_vals"][0] == 50


def test_a_broken_file_of_the_repository_is_refused(tmp_path: Path) -> None:
    connector(tmp_path)
    written(tmp_path / "model", '{"schema": {}}', "csv.json")
    with pytest.raises(InputError, match=r"csv\.json of the repository is damaged"):
        connector(tmp_path)


CELLS = st.text(st.sampled_from("ab ,;\"'\n\r0é"), min_size=1, max_size=6).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), CELLS, CELLS), min_size=1, max_size=12))
def test_any_words_and_numbers_survive(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[float, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    text = io.StringIO()
    csv.writer(text).writerows([("x", "w", "y"), *table])
    path = written(folder, "\ufeff" + text.getvalue())
    sets = made(folder, path, path, label="y", categoricals="w")
    words = list(dict.fromkeys(" ".join(w.split()) for _, w, _ in table))
    names = list(dict.fromkeys(" ".join(y.split()) for _, _, y in table))
    found = everything(sets.train)
    for (number, cell, label), sample in zip(table, found, strict=True):
        hot = [float(each == " ".join(cell.split())) for each in words]
        assert sample.inputs["row"].tolist() == [np.float32(number), *hot]
        if sets.classes:
            assert sets.classes == tuple(names)
            assert sample.target == names.index(" ".join(label.split()))
    assert rows(read(connector(folder), path)) == rows(found)
