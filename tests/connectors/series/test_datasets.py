"""Data sets of series: folders, splits, several tests, resumed trainings, data on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.data import Datasets
from ddstream.errors import InputError, ParameterError
from tests.connectors.series.sets import (
    FORECAST,
    LABELS,
    everything,
    made,
    spans,
    table,
    written,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two series of 20 and 12 steps."""
    return written(tmp_path / "train", {"a.csv": table(20), "b.csv": table(12, first=100)})


def same(one: Datasets, other: Datasets) -> bool:
    """Both have the same samples."""
    return all(
        a.uri == b.uri
        and np.array_equal(a.inputs["series"], b.inputs["series"])
        and np.array_equal(np.asarray(a.target), np.asarray(b.target))
        and np.array_equal(a.meta["spread"], b.meta["spread"])
        for sets in zip((one.train, *one.tests), (other.train, *other.tests), strict=True)
        for a, b in zip(*map(everything, sets), strict=True)
    )


@pytest.mark.promise("train.input.csvts.label", "train.data")
def test_each_file_is_a_series_and_each_folder_a_set(tmp_path: Path, folder: Path) -> None:
    first = written(tmp_path / "first", {"c.csv": table(5), "notes.txt": "none"})
    second = written(tmp_path / "second", {"d.csv": "y,x\n" + "1,2\n" * 5})
    sets = made(tmp_path / "m", folder, first, second, **{**LABELS, "timesteps": 5, "label": "y"})
    assert spans(sets.train) == [
        *("a.csv #0_4", "a.csv #5_9", "a.csv #10_14", "a.csv #15_19"),
        *("b.csv #0_4", "b.csv #5_9", "b.csv #7_11"),
    ]
    assert [each.name for each in sets.tests] == ["first", "second"]
    # Columns are the first table's, found by their names.
    assert everything(sets.tests[1])[0].inputs["series"].ravel().tolist() == [2.0] * 5
    assert f"{first}: 1 files are not .csv and were left out" in sets.warnings


def test_a_series_that_is_too_short_is_left_out_and_named(tmp_path: Path, folder: Path) -> None:
    sets = made(tmp_path / "m", folder, folder, label="y", timesteps=15)
    assert spans(sets.train) == ["a.csv #0_14", "a.csv #5_19"]
    said = "train: 1 series have fewer than 15 steps and were left out: b.csv"
    assert sets.warnings == [said, said]


@pytest.mark.parametrize(
    ("raw", "error", "text"),
    [
        ({}, InputError, "no value given to .forecast_|backcast_|.timesteps"),
        ({"timesteps": 3}, InputError, "missing label column parameter"),
        ({"label": "z", "timesteps": 3}, InputError, "cannot find label column z"),
        ({"label": "y", "timesteps": 99}, ParameterError, "No data found in training dataset"),
        ({**LABELS, "test_split": 0.5}, InputError, "both a test split 0.5 and a test set"),
        ({**LABELS, "id": "who"}, InputError, "cannot find id column who"),
    ],
)
def test_data_that_cannot_be_used_are_refused(
    tmp_path: Path, folder: Path, raw: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        made(tmp_path / "m", folder, folder, **raw)


def test_a_file_or_nothing_is_no_training_set(tmp_path: Path, folder: Path) -> None:
    for path, text in (
        (folder / "a.csv", "is a CSV file, but CSVTS connector only supports directory during"),
        (tmp_path / "none", "does not exist"),
        (written(tmp_path / "empty", {}), "has no CSV file"),
        (written(tmp_path / "blank", {"a.csv": "\n"}), "has no header"),
        (written(tmp_path / "wrong", {"a.csv": "x,y\n1,2\n1,two\n"}), "line 3 of .*column y"),
    ):
        with pytest.raises(InputError, match=text):
            made(tmp_path / "m", path, path, **LABELS)
    with pytest.raises(ParameterError, match="empty test dataset"):
        made(tmp_path / "m", folder, **LABELS)
    with pytest.raises(InputError, match="missing data"):
        made(tmp_path / "m", **LABELS)


@pytest.mark.promise("train.input.csvts.ignore", "train.input.csvts.id")
def test_ignored_and_identifying_columns_are_left_out(tmp_path: Path) -> None:
    rows = "".join(f"t{i},{i},junk,{-i}\n" for i in range(8))
    data = written(tmp_path / "d", {"a.csv": "when,x,z,y\n" + rows})
    sets = made(tmp_path / "m", data, data, id="when", ignore=["z"], **FORECAST)
    assert sets.dimensions.columns == 2
    assert sets.train.read(0, None).inputs["series"].tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]


@pytest.mark.promise("train.input.csvts.label_offset")
def test_an_offset_is_added_to_the_labels(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 3 + 1},{i}\n" for i in range(8))
    data = written(tmp_path / "d", {"a.csv": "x,y,z\n" + rows})
    one = made(tmp_path / "m", data, data, label_offset=-1, **LABELS).train.read(0, None)
    assert np.asarray(one.target).ravel().tolist() == [0, 1, 2, 0]
    assert one.inputs["series"][:, 0].tolist() == [0, 1, 2, 3]
    raw: dict[str, Any] = {"label": ["z", "y"], "label_offset": [10, -1], "timesteps": 2}
    two = made(tmp_path / "m", data, data, **raw).train.read(0, None)
    assert np.asarray(two.target).tolist() == [[10, 0], [11, 1]]


@pytest.mark.promise("train.input.csvts.separator", "train.input.csvts.quote")
def test_separator_and_quote_are_those_of_the_tables(tmp_path: Path) -> None:
    data = written(tmp_path / "d", {"a.csv": "x\t'a\ty'\n" + "1\t'2'\n" * 5})
    sets = made(tmp_path / "m", data, data, separator="\t", quote="'", label="a\ty", timesteps=4)
    assert np.asarray(sets.train.read(0, None).target).ravel().tolist() == [2.0] * 4


@pytest.mark.promise("train.input.csvts.test_split")
@pytest.mark.parametrize("db", [False, True])
def test_a_split_holds_out_the_end(tmp_path: Path, db: bool) -> None:
    data = written(tmp_path / "d", {"a.csv": table(40)})
    sets = made(tmp_path / "m", data, test_split=0.3, db=db, **LABELS)
    (test,) = sets.tests
    assert (test.name, len(sets.train), len(test)) == ("split", 7, 3)
    assert spans(test) == ["a.csv #28_31", "a.csv #32_35", "a.csv #36_39"]


@pytest.mark.promise("train.input.csvts.shuffle", "train.input.csvts.seed")
def test_a_shuffled_split_is_drawn_by_the_seed(tmp_path: Path) -> None:
    data = written(tmp_path / "d", {"a.csv": table(80)})

    def held_out(**raw: Any) -> list[str]:
        sets = made(tmp_path / "m", data, test_split=0.5, **LABELS, **raw)
        assert not set(spans(sets.train)) & set(spans(sets.tests[0]))
        assert (sets.shuffle, sets.seed) == (raw.get("shuffle", False), raw.get("seed", -1))
        return spans(sets.tests[0])

    assert held_out(shuffle=True, seed=3) == held_out(shuffle=True, seed=3)
    assert held_out(shuffle=True, seed=3) != held_out(shuffle=True, seed=4)
    assert held_out(shuffle=True) != held_out(shuffle=True)
    assert held_out(seed=3) == held_out()


@pytest.mark.promise("services.input.csvts.db", "train.input.csvts.db")
@pytest.mark.parametrize("raw", [LABELS, FORECAST])
def test_on_disk_the_samples_are_the_same(
    tmp_path: Path, folder: Path, raw: dict[str, Any]
) -> None:
    raw = {**raw, "scale": True}
    plain = made(tmp_path / "plain", folder, folder, **raw)
    kept = made(tmp_path / "kept", folder, folder, db=True, **raw)
    assert (tmp_path / "kept" / "train.lmdb").is_file()
    assert same(plain, kept)
    assert (plain.learned, plain.dimensions) == (kept.learned, kept.dimensions)
    assert plain.files == kept.files
    # Made once, read again: the tables are not needed any more.
    (folder / "a.csv").unlink()
    again = made(tmp_path / "kept", folder, folder, db=True, **raw)
    assert same(kept, again)
    with pytest.raises(InputError, match=r"train\.lmdb was made with scale True, not False"):
        made(tmp_path / "kept", folder, folder, db=True, **{**raw, "scale": False})


def test_a_resumed_training_keeps_its_columns_and_bounds(tmp_path: Path, folder: Path) -> None:
    made(tmp_path / "m", folder, folder, scale=True, **LABELS)
    wider = written(tmp_path / "wider", {"a.csv": "y,x\n" + "9000,900\n" * 9})
    resumed = made(tmp_path / "m", wider, wider, mllib={"resume": True})
    assert resumed.learned["max_vals"] == [111, 11100]
    assert resumed.dimensions.columns == 1
    assert resumed.train.read(0, None).inputs["series"][0, 0] == pytest.approx(900 / 111 - 0.5)
    anew = made(tmp_path / "m", wider, folder, scale=True, **LABELS)
    assert anew.learned["max_vals"] == [9000 + 2100, 900]
