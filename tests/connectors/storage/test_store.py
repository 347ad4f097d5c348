"""The store: sets are kept once and read again, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.connectors.storage.store import Wish, stored
from ddstream.connectors.storage.streams import Stream, Streams, varied
from ddstream.data import Dataset, Datasets, Dimensions, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.fence import Fenced
from ddstream.repository import Repository
from ddstream.roots import ANYWHERE, Roots
from tests.connectors.texts.sets import everything

MADE_BY = {"connector": "rows", "size": 3, "mean": (1.0, 2.0)}


def samples(*numbers: int) -> Iterator[Sample]:
    """Rows that are easy to tell apart."""
    for number in numbers:
        yield Sample(f"row {number}", {"row": np.full(3, number, np.float32)}, number)


def streams(train: int = 10, *tests: int) -> Streams:
    """A training set of so many rows, and test sets."""
    return Streams(
        Stream("rows", samples(*range(train))),
        [Stream(f"t{i}", samples(*range(100, 100 + size))) for i, size in enumerate(tests)],
        classes=["a", "b"],
        learned={"min_vals": [0.5]},
        warnings=["said once"],
        dimensions=Dimensions(columns=3),
        files={"bounds.dat": b"\0\1"},
    )


def wish(folder: Path, *data: Path, **raw: Any) -> Wish:
    """A wish for this repository."""
    folder.mkdir(parents=True, exist_ok=True)
    members = {"made_by": MADE_BY, "roots": ANYWHERE, **raw}
    return Wish(Repository(folder), data or (Path("rows"),), **members)


def refuse() -> Streams:
    """Stands where data must not be read."""
    raise AssertionError("the data were read")


def numbers(data: Dataset) -> list[Any]:
    """The target of each sample."""
    return [sample.target for sample in everything(data)]


def test_sets_are_kept_and_used_again_without_their_data(tmp_path: Path) -> None:
    first = stored(wish(tmp_path), lambda: streams(10, 2, 3))
    again = stored(wish(tmp_path, Path("gone")), refuse)
    assert first.warnings == ["said once"]
    assert again.warnings == [f"train.lmdb of {tmp_path} is used again, `data` was not read"]
    for found in (first, again):
        assert numbers(found.train) == list(range(10))
        assert [numbers(test) for test in found.tests] == [[100, 101], [100, 101, 102]]
        assert [found.train.name, *(test.name for test in found.tests)] == ["rows", "t0", "t1"]
        assert found.train.read(7, None).uri == "row 7"
        assert found.train.read(7, None).inputs["row"].tolist() == [7, 7, 7]
        assert list(found.classes) == ["a", "b"]
        assert found.learned == {"min_vals": [0.5]}
        assert found.dimensions == Dimensions(columns=3)
        assert found.files == {"bounds.dat": b"\0\1"}
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["test_0.lmdb", "test_1.lmdb", "train.lmdb"]


def test_what_is_done_to_a_sample_is_done_when_it_is_read(tmp_path: Path) -> None:
    def vary(sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
        more = 0 if rng is None else int(rng.integers(1, 100))
        return Sample(sample.uri, {"row": sample.inputs["row"] + more}, index)

    found = varied(stored(wish(tmp_path), lambda: streams(4, 1)), vary)
    assert numbers(found.train) == [0, 1, 2, 3]
    values = {
        float(found.train.read(2, np.random.default_rng(seed)).inputs["row"][0])
        for seed in range(9)
    }
    assert len(values) > 5
    assert found.train.read(2, None).inputs["row"][0] == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"size": 4}, r"made with size 3, not 4"),
        ({"mean": (1.0, 3.0)}, r"made with mean \[1\.0, 2\.0\], not \[1\.0, 3\.0\]"),
        ({"more": True}, r"made with more None, not True"),
        ({"connector": "csv"}, r"made with connector 'rows', not 'csv'"),
    ],
)
def test_samples_of_other_parameters_are_refused(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    stored(wish(tmp_path), lambda: streams(4, 1))
    with pytest.raises(InputError, match=said):
        stored(wish(tmp_path, made_by={**MADE_BY, **changed}), refuse)


@pytest.mark.parametrize("train", [0, 3])
def test_empty_sets_are_not_kept(tmp_path: Path, train: int) -> None:
    with pytest.raises(ParameterError, match=r"No data found|empty test dataset"):
        stored(wish(tmp_path), lambda: streams(train, *([0] if train else [2])))
    assert "train.lmdb" not in [each.name for each in tmp_path.iterdir()]
    assert numbers(stored(wish(tmp_path), lambda: streams(1, 1)).train) == [0]


def test_a_set_without_tests_is_split_the_same_way_each_time(tmp_path: Path) -> None:
    stored(wish(tmp_path), lambda: streams(20, 1))
    (tmp_path / "test_0.lmdb").unlink()
    parts: list[Datasets] = [
        stored(wish(tmp_path, test_split=0.25, **raw), refuse)
        for raw in ({}, {}, {"seed": 5}, {"seed": 5})
    ]
    for each in parts:
        assert (len(each.train), len(each.tests[0]), each.tests[0].name) == (15, 5, "split")
        assert sorted([*numbers(each.train), *numbers(each.tests[0])]) == list(range(20))
        assert numbers(each.tests[0]) != list(range(15, 20))
    held = [numbers(each.tests[0]) for each in parts]
    assert held[0] == held[1] != held[2] == held[3]
    with pytest.raises(ParameterError, match="No data found"):
        stored(wish(tmp_path, test_split=0.99), refuse)
    assert not stored(wish(tmp_path), refuse).tests


def test_another_split_of_kept_sets_has_no_effect_and_says_so(tmp_path: Path) -> None:
    stored(wish(tmp_path, test_split=0.5), lambda: streams(4, 4))
    same = stored(wish(tmp_path, test_split=0.5), refuse)
    assert len(same.warnings) == 1
    other = stored(wish(tmp_path, test_split=0.1), refuse)
    assert len(other.tests[0]) == 4
    assert "test_split has no effect: the test sets are kept ones" in other.warnings[-1]


def test_data_may_be_stores_themselves(tmp_path: Path) -> None:
    stored(wish(tmp_path / "a"), lambda: streams(8, 2))
    paths = [tmp_path / "a" / name for name in ("train.lmdb", "test_0.lmdb")]
    found = stored(wish(tmp_path / "b", *paths), refuse)
    assert (numbers(found.train), numbers(found.tests[0])) == (list(range(8)), [100, 101])
    assert not list((tmp_path / "b").iterdir())
    half = stored(wish(tmp_path / "b", paths[0], test_split=0.5), refuse)
    assert (len(half.train), len(half.tests[0])) == (4, 4)
    with pytest.raises(InputError, match=r"both a test split 0\.5 and a test set"):
        stored(wish(tmp_path / "b", *paths, test_split=0.5), refuse)
    with pytest.raises(InputError, match=r"gone\.lmdb is no file"):
        stored(wish(tmp_path / "b", tmp_path / "gone.lmdb"), refuse)
    elsewhere = Roots((tmp_path / "b",))
    with pytest.raises(InputError, match="not below"):
        stored(wish(tmp_path / "b", *paths, roots=elsewhere), refuse)


def test_a_test_set_cannot_be_trained_on(tmp_path: Path) -> None:
    stored(wish(tmp_path), lambda: streams(4, 2))
    with pytest.raises(InputError, match="was not made by this version"):
        stored(wish(tmp_path / "b", tmp_path / "test_0.lmdb"), refuse)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Streams:
        def rows() -> Iterator[Sample]:
            yield from samples(0, 1)
            raise InputError("line 3 is no row")

        return Streams(Stream("rows", rows()), [Stream("t", samples(1))])

    with pytest.raises(InputError, match="line 3"):
        stored(wish(tmp_path), broken)
    assert [each.name for each in tmp_path.iterdir()] == ["test_0.lmdb"]
    # The test set that is there belongs to no training set, so it is made anew.
    found = stored(wish(tmp_path), lambda: streams(2, 3))
    assert numbers(found.tests[0]) == [100, 101, 102]


def test_a_training_that_was_given_up_keeps_nothing(tmp_path: Path) -> None:
    old = Repository(tmp_path).claimed("run", 1)
    Repository(tmp_path).claimed("run", 2)
    with pytest.raises(Fenced):
        stored(Wish(old, [Path("rows")], ANYWHERE, MADE_BY), lambda: streams(2, 1))
    assert [each.name for each in tmp_path.iterdir()] == [".fence"]


KILLED = """
import sys
from pathlib import Path
from tests.connectors.storage.test_store import samples, wish
from ddstream.connectors.storage.store import stored
from ddstream.connectors.storage.streams import Stream, Streams

def rows():
    yield from samples(*range(5000))
    print("half", flush=True)
    sys.stdin.read()

stored(wish(Path(sys.argv[1])), lambda: Streams(Stream("rows", rows()), [Stream("t", samples(1))]))
"""


def test_a_kill_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    command: Sequence[str] = (sys.executable, "-c", KILLED, str(tmp_path))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        child.send_signal(signal.SIGKILL)
    half = [each.name for each in tmp_path.iterdir() if each.name.startswith(".train.lmdb.")]
    assert len(half) == 1
    # The next attempt at a training takes away what is half written, and makes the sets anew.
    claimed = Repository(tmp_path).claimed("run", 1)
    assert not list(tmp_path.glob(".train*"))
    found = stored(Wish(claimed, [Path("rows")], ANYWHERE, MADE_BY), lambda: streams(3, 1))
    assert numbers(found.train) == [0, 1, 2]
