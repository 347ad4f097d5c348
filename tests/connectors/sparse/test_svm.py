"""Sparse rows: lines of features become rows by the vocabulary of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file

from ddstream.connectors.sparse.connector import SvmConnector
from ddstream.data import Datum
from ddstream.errors import InputError, ParameterError
from tests.connectors.tables.sets import connector, everything, made, read, rows, told, written

LINES = "1 3:0.5 10:2\n0 1:1  # a comment\n\n2 10:4 3:1e-1\n0\n"


def lines(folder: Path, text: str = LINES, name: str = "train.svm") -> Path:
    """A file of sparse rows."""
    return written(folder, text, name)


@pytest.mark.promise("connectors.svm")
def test_features_that_a_training_saw_are_the_columns(tmp_path: Path) -> None:
    train = lines(tmp_path)
    test = lines(tmp_path, "2 10:1 77:3\n", "test.svm")
    sets = made(tmp_path, train, test, kind="svm")
    found = everything(sets.train)
    half = np.float32(0.1)
    assert rows(found) == [[0, 0.5, 2], [1, 0, 0], [0, half, 4], [0, 0, 0]]
    assert [each.target for each in found] == [1, 0, 2, 0]
    assert rows(everything(sets.tests[0])) == [[0, 0, 1]]
    assert (tmp_path / "model" / "vocab.dat").read_text() == "1\n3\n10\n"
    assert (sets.dimensions.columns, sets.dimensions.outputs) == (3, 3)
    assert connector(tmp_path, "svm").dimensions() == sets.dimensions
    assert connector(tmp_path, "svm").describe() == {"width": 3, "height": 1}


@pytest.mark.promise("connectors.svm")
def test_predictions_leave_out_what_the_training_did_not_see(tmp_path: Path) -> None:
    train = lines(tmp_path)
    made(tmp_path, train, train, kind="svm")
    used = connector(tmp_path, "svm")
    found = read(used, "0 3:1 4:1", "10:5\n1:1 3:2", b"3:9")
    assert rows(found) == [[0, 1, 0], [0, 0, 5], [1, 2, 0], [0, 9, 0]]
    assert [each.uri for each in found] == ["1", "2", "3", "4"]
    assert [each.target for each in told(used, "2 3:1\n+1 3:1")] == [2, 1]
    for line, said in (
        ("0 99:1", "Issue while reading svm example"),
        ("1", "Issue while reading svm example"),
        ("1 a:1", "line 1 of 0: invalid argument error reading SVM format line: 1 a:1"),
        ("1 3:x", "invalid argument error reading SVM format line: 1 3:x"),
        ("1 3:nan", "invalid argument error"),
        ("1 3 4", "invalid argument error"),
        ("1 3:1 3:2", "invalid argument error"),
        ("0 3:1\n1 -3:1", "line 2 of 0: invalid argument error"),
        ("1 3:1e300", "line 1 of 0: a value is too large"),
        (b"1 3:\xff", "is no text of UTF-8"),
    ):
        with pytest.raises(InputError, match=said):
            read(used, line)
    with pytest.raises(InputError, match="has no label"):
        told(used, "3:1")
    with pytest.raises(InputError, match="is an array"):
        list(used.read(Datum("0", np.zeros(3))))


def test_lines_of_bytes_keep_their_name(tmp_path: Path) -> None:
    train = lines(tmp_path)
    made(tmp_path, train, train, kind="svm")
    used = connector(tmp_path, "svm")
    assert isinstance(used, SvmConnector)
    assert [each.uri for each in used.read(Datum("t/0/1", b"3:1"))] == ["t/0/1"]
    assert [each.uri for each in used.read(Datum("t/0/1", b"3:1\n3:1"))] == [
        "t/0/1 #1",
        "t/0/1 #2",
    ]
    assert [
        each.uri for each in used.read(Datum("x.svm", lines(tmp_path, "3:1\n3:1\n", "x.svm")))
    ] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "mllib", "targets", "classes"),
    [
        ("-1 1:1\n+1 1:2\n-1 1:3\n", {}, [0, 1, 0], ("-1", "+1")),
        ("cat 1:1\ndog 1:2\n", {"nclasses": 2}, [0, 1], ("cat", "dog")),
        ("0.5 1:1\n-2 1:2\n", {"ntargets": 1}, [[0.5], [-2]], ("0",)),
        ("1,2 1:1\n3,4 1:2\n", {"ntargets": 2}, [[1, 2], [3, 4]], ("0", "1")),
        (
            "0,2 1:1\n1 1:2\n",
            {"multi_label": True, "nclasses": 3},
            [[1, 0, 1], [0, 1, 0]],
            ("0", "1", "2"),
        ),
    ],
)
def test_labels_are_classes_numbers_or_several(
    tmp_path: Path, text: str, mllib: dict[str, Any], targets: list[Any], classes: tuple[str, ...]
) -> None:
    train = lines(tmp_path, text)
    sets = made(tmp_path, train, train, kind="svm", mllib=mllib)
    assert [np.asarray(each.target).tolist() for each in everything(sets.train)] == targets
    assert tuple(sets.classes) == classes
    used = connector(tmp_path, "svm")
    assert [np.asarray(each.target).tolist() for each in told(used, train)] == targets


def test_a_split_a_store_and_a_resumption_are_as_of_tables(tmp_path: Path) -> None:
    text = "".join(f"{number % 2} 1:{number} {number + 2}:1\n" for number in range(20))
    train = lines(tmp_path, text)
    options: dict[str, Any] = {"test_split": 0.2, "shuffle": True}
    memory = made(tmp_path / "a", train, kind="svm", seed=1, **options)
    disk = made(tmp_path / "b", train, kind="svm", seed=1, db=True, **options)
    for one, other in ((memory.train, disk.train), (memory.tests[0], disk.tests[0])):
        assert rows(everything(one)) == rows(everything(other))
        assert [s.uri for s in everything(one)] == [s.uri for s in everything(other)]
        assert [s.target for s in everything(one)] == [s.target for s in everything(other)]
    assert (len(memory.train), memory.tests[0].name) == (16, "split")
    kept = getattr(disk.train, "kept").read(0, None)  # noqa: B009
    assert set(kept.inputs) == {"places", "weights"}
    first = made(tmp_path / "c", train, kind="svm", **options)
    more = lines(tmp_path, text + "1 99:1 1:5\n", "more.svm")
    again = made(tmp_path / "c", train, kind="svm", mllib={"resume": True}, **options)
    assert rows(everything(again.tests[0])) == rows(everything(first.tests[0]))
    grown = made(tmp_path / "c", more, train, kind="svm", mllib={"resume": True})
    assert grown.dimensions == first.dimensions


def test_data_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    train, empty = lines(tmp_path), lines(tmp_path, "# nothing\n", "empty.svm")
    for data in ((empty, train), (train, empty), (train,)):
        with pytest.raises(ParameterError):
            made(tmp_path, *data, kind="svm")
    with pytest.raises(InputError, match="missing data"):
        made(tmp_path, kind="svm")
    with pytest.raises(InputError, match="does not exist"):
        made(tmp_path, tmp_path / "none", train, kind="svm")
    with pytest.raises(InputError, match="has no feature"):
        made(tmp_path, lines(tmp_path, "1\n", "bare.svm"), train, kind="svm")
    with pytest.raises(InputError, match="no class below 2"):
        made(tmp_path, train, train, kind="svm", mllib={"nclasses": 2})
    with pytest.raises(InputError, match=r"no vocab\.dat: a training makes one"):
        read(connector(tmp_path, "svm"), "1 3:1")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_batches_agree_with_the_matrix_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 6)))
    values = st.lists(
        st.sampled_from([0.0, 0.0, 1.0, -2.5, 0.125]), min_size=shape[1], max_size=shape[1]
    )
    matrix = np.array(data.draw(st.lists(values, min_size=shape[0], max_size=shape[0])))
    matrix[0, 0] = 1.0
    folder = tmp_path_factory.mktemp("sparse")
    path = folder / "any.svm"
    dump_svmlight_file(matrix, np.arange(shape[0]), str(path))
    sets = made(folder, path, path, kind="svm")
    used = matrix[:, (matrix != 0).any(axis=0)]
    order = data.draw(st.permutations(range(shape[0])))
    batch = getattr(sets.train, "batch")(order)  # noqa: B009
    assert batch.inputs["row"].tolist() == used[order].tolist()
    assert batch.targets.tolist() == list(order)
