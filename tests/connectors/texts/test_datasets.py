"""Text data sets: class folders, sentences, splits, test sets, resumed trainings, data on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.data import Dataset, Datasets
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from tests.connectors.texts.sets import (
    WORDS,
    connector,
    everything,
    made,
    read,
    vocabulary,
    written,
)


def uris(data: Dataset) -> list[str]:
    """The last two parts of each sample's uri."""
    return ["/".join(Path(sample.uri).parts[-2:]) for sample in everything(data)]


def targets(data: Dataset) -> list[Any]:
    """The target of each sample."""
    return [sample.target for sample in everything(data)]


@pytest.mark.promise("train.data")
def test_class_folders_give_ids_by_their_sorted_names(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    (data / "fruit" / "deep").mkdir()
    (data / "fruit" / "deep" / "x").write_text("apples")
    sets = made(tmp_path / "repository", data, data, **WORDS)
    assert sets.classes == ["fruit", "metal"]
    assert targets(sets.train) == [0, 0, 0, 0, 1, 1, 1]
    assert uris(sets.train)[2:5] == ["fruit/2.txt", "deep/x", "metal/0.txt"]
    assert (sets.train.name, sets.tests[0].name) == ("set", "set")
    assert sets.shuffle
    assert everything(sets.train)[0].uri == str(data / "fruit" / "0.txt")


@pytest.mark.promise("train.input.txt.sentences")
def test_with_sentences_every_line_of_a_class_is_a_text(tmp_path: Path) -> None:
    texts = {"one": ["ab\n\ncd\n"], "two": ["ef", "gh\nij"]}
    data = written(tmp_path / "set", texts)
    sets = made(tmp_path / "repository", data, data, sentences=True, **WORDS)
    assert targets(sets.train) == [0, 0, 1, 1, 1]
    assert uris(sets.train) == [
        "one/0.txt #1",
        "one/0.txt #3",
        "two/0.txt #1",
        "two/1.txt #1",
        "two/1.txt #2",
    ]
    assert sets.train.read(1, None).inputs["row"].tolist() == [0, 1, 0, 0, 0]
    whole = made(tmp_path / "other", data, data, **WORDS)
    assert len(whole.train) == 3


def test_test_sets_follow_the_names_of_the_training_set(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    test = written(tmp_path / "test", {"metal": ["copper gold"], "stone": ["flint"]})
    sets = made(tmp_path / "repository", data, test, data, **WORDS)
    assert [targets(each) for each in sets.tests] == [[1], [0, 0, 0, 1, 1, 1]]
    assert sets.tests[0].read(0, None).inputs["row"].sum() == 1
    assert sets.warnings == [f"class stone of {test} is not in the training set: left out"]


def test_flat_folders_and_files_have_one_class(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "one").write_text("ab\ncd")
    sets = made(tmp_path, tmp_path / "flat", tmp_path / "flat" / "one", **WORDS)
    assert (targets(sets.train), targets(sets.tests[0])) == ([0], [0])
    assert sets.classes == ()
    assert "has no class folders: all its texts are of class 0" in sets.warnings[0]


@pytest.mark.promise("train.input.txt.test_split")
@pytest.mark.parametrize(("part", "kept"), [(0.25, 15), (0.1, 18), (0.9, 2)])
def test_test_split_holds_out_texts_of_all_classes(tmp_path: Path, part: float, kept: int) -> None:
    names = {name: [f"word {number}" for number in range(10)] for name in ("one", "two")}
    data = written(tmp_path / "set", names)
    sets = made(tmp_path / "repository", data, test_split=part, **WORDS)
    (test,) = sets.tests
    assert (len(sets.train), len(test), test.name) == (kept, 20 - kept, "split")
    assert not set(uris(sets.train)) & set(uris(test))
    assert len(set(uris(sets.train)) | set(uris(test))) == 20
    if part == 0.25:
        assert set(targets(test)) == {0, 1}
    # What is held out does not change between trainings.
    again = made(tmp_path / "other", data, test_split=part, **WORDS)
    assert uris(again.tests[0]) == uris(test)


@pytest.mark.promise("train.input.txt.shuffle", "train.input.txt.seed")
def test_what_is_held_out_follows_the_seed_of_a_shuffle(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"one": [f"word {number}" for number in range(40)]})

    def held(**raw: Any) -> list[str]:
        sets = made(tmp_path / "repository", data, test_split=0.5, **WORDS, **raw)
        assert sets.seed == raw.get("seed", -1)
        return uris(sets.tests[0])

    assert held(shuffle=True, seed=3) == held(shuffle=True, seed=3)
    assert held(shuffle=True, seed=3) != held(shuffle=True, seed=4)
    assert held(shuffle=True) != held(shuffle=True)
    assert held() == held() == held(seed=5)


def test_the_vocabulary_is_of_the_training_part_alone(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"one": [f"word{number}" for number in range(10)]})
    sets = made(tmp_path / "repository", data, test_split=0.5, **WORDS)
    words = [line.split(",")[0] for line in sets.files["vocab.dat"].decode().splitlines()]
    assert sorted(words) == sorted(
        Path(uri).stem.replace("", "word", 1) for uri in uris(sets.train)
    )
    assert all(sample.inputs["row"].sum() == 0 for sample in everything(sets.tests[0]))


@pytest.mark.parametrize("db", [True, False])
def test_data_that_cannot_be_are_refused(tmp_path: Path, db: bool) -> None:
    data = written(tmp_path / "set")
    (tmp_path / "empty").mkdir()

    def sets(*paths: Path, **raw: Any) -> Datasets:
        return made(tmp_path / "repository", *paths, db=db, **{**WORDS, **raw})

    with pytest.raises(InputError, match="missing data"):
        sets()
    with pytest.raises(InputError, match=r"folder or file of texts .*gone does not exist"):
        sets(tmp_path / "gone", data)
    with pytest.raises(ParameterError, match="empty test dataset"):
        sets(data)
    with pytest.raises(ParameterError, match="empty test dataset"):
        sets(data, data, written(tmp_path / "none", {"fruit": []}))
    with pytest.raises(ParameterError, match="No data found in training dataset"):
        sets(tmp_path / "empty", data)
    with pytest.raises(InputError, match=r"both a test split 0\.5 and a test set"):
        sets(data, data, test_split=0.5)
    with pytest.raises(InputError, match="empty has no class folders"):
        sets(data, tmp_path / "empty")
    assert not list((tmp_path / "repository").iterdir())


def test_more_folders_than_classes_are_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    with pytest.raises(InputError, match=r"class metal of .* is one too many \(nclasses=1\)"):
        made(tmp_path / "repository", data, data, mllib={"nclasses": 1}, **WORDS)
    with pytest.raises(ParameterError, match="nclasses must be a number"):
        made(tmp_path / "repository", data, data, mllib={"nclasses": "x"}, **WORDS)


def test_the_name_of_a_class_may_have_what_ends_lines_elsewhere(tmp_path: Path) -> None:
    names = ["one", "two\N{LINE SEPARATOR}three", "with a space"]
    data = written(tmp_path / "set", {name: ["word"] for name in names})
    made(tmp_path / "repository", data, data, **WORDS)
    assert Repository(tmp_path / "repository").classes() == names


def test_files_beside_the_class_folders_are_warned_of(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    (data / "stray").write_text("apples")
    sets = made(tmp_path / "repository", data, data, **WORDS)
    assert any("1 files are in no class folder" in warning for warning in sets.warnings)
    assert len(sets.train) == 6


def test_a_resumed_training_goes_on_with_what_was_learned(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    first = made(tmp_path / "repository", data, data, tfidf=True, **WORDS)
    more = written(tmp_path / "more", {"metal": ["copper gold"]})
    again = made(tmp_path / "repository", more, more, mllib={"resume": True})
    assert again.files["vocab.dat"] == first.files["vocab.dat"]
    assert again.dimensions == first.dimensions
    assert targets(again.train) == [1]
    # The weights are those of the first training too.
    assert again.train.read(0, None).inputs["row"][3] == pytest.approx(
        np.log1p(1 / 2) * np.log1p(6 / 2), rel=1e-6
    )
    fresh = made(tmp_path / "repository", more, more, **WORDS)
    assert fresh.files["vocab.dat"] == b"copper,0\ngold,1\n"


def test_another_way_than_the_last_training_starts_afresh(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    made(tmp_path / "repository", data, data, characters=True, sequence=5)
    assert connector(tmp_path / "repository").parameters.characters
    used = connector(tmp_path / "repository", ordered_words=True)
    assert (used.parameters.characters, used.parameters.sequence) == (False, None)


@pytest.mark.promise("train.input.txt.db")
@pytest.mark.parametrize(
    ("raw", "mllib"),
    [
        pytest.param({**WORDS, "tfidf": True}, {}, id="bags"),
        pytest.param({"characters": True, "sequence": 9}, {}, id="characters"),
        pytest.param({"ordered_words": True, "sequence": 9}, {"template": "gpt2"}, id="gpt2"),
    ],
)
def test_data_on_disk_are_those_in_memory(
    tmp_path: Path, raw: dict[str, Any], mllib: dict[str, Any]
) -> None:
    data = written(tmp_path / "set")
    memory = made(tmp_path / "memory", data, data, mllib=mllib, **raw)
    disk = made(tmp_path / "disk", data, data, mllib=mllib, db=True, **raw)
    assert (tmp_path / "disk" / "train.lmdb").is_file()
    assert (tmp_path / "disk" / "test_0.lmdb").is_file()
    assert list(disk.classes) == list(memory.classes)
    assert dict(disk.files) == dict(memory.files)
    assert (disk.dimensions, disk.shuffle) == (memory.dimensions, True)
    for one, two in zip(
        [*everything(memory.train), *everything(memory.tests[0])],
        [*everything(disk.train), *everything(disk.tests[0])],
        strict=True,
    ):
        assert one.uri == two.uri
        assert np.array_equal(np.asarray(one.target), np.asarray(two.target))
        assert list(one.inputs) == list(two.inputs)
        for name, array in one.inputs.items():
            assert np.array_equal(array, two.inputs[name])
            assert array.dtype == two.inputs[name].dtype
    # They are used again, and the data are not looked at any more.
    again = made(tmp_path / "disk", tmp_path / "gone", mllib=mllib, db=True, **raw)
    assert any("is used again, `data` was not read" in said for said in again.warnings)
    assert uris(again.train) == uris(memory.train)
    assert read(connector(tmp_path / "disk"), "silver")


def test_kept_samples_of_other_parameters_are_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    made(tmp_path / "repository", data, data, db=True, **WORDS)
    with pytest.raises(InputError, match=r"train\.lmdb was made with tfidf False, not True"):
        made(tmp_path / "repository", data, data, db=True, tfidf=True, **WORDS)


def test_kept_samples_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    raw = {"ordered_words": True, "db": True}
    repository = vocabulary(tmp_path / "repository")
    made(repository, data, data, mllib={"template": "bert"}, **raw)
    vocabulary(repository.path, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "silver"))
    with pytest.raises(InputError, match=r"made with another vocab\.dat"):
        made(repository, data, data, mllib={"template": "bert"}, **raw)


@pytest.mark.parametrize("mode", ["mem", "lib", "full", "dir"])
def test_clearing_a_repository_leaves_the_kept_samples_unless_all_goes(
    tmp_path: Path, mode: str
) -> None:
    data = written(tmp_path / "set")
    folder = tmp_path / "repository"
    made(folder, data, data, db=True, **WORDS)
    Repository(folder).clear(mode)
    kept = {"vocab.dat", "train.lmdb", "test_0.lmdb"} & {
        each.name for each in (folder.iterdir() if folder.exists() else ())
    }
    assert bool(kept) == (mode in ("mem", "lib"))
    assert len(kept) in (0, 3)
