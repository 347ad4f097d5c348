"""Models of language: tokens that are hidden, and tokens that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.data import Array, Datum, Sample
from ddstream.errors import InputError
from tests.connectors.texts.sets import connector, everything, made, vocabulary, written

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS)
MASK = {"template": "bert", "self_supervised": "mask"}
RAW: dict[str, Any] = {"ordered_words": True, "sequence": 64, "test_split": 0.25}


def target_of(sample: Sample) -> Array:
    """The ids that are to be told."""
    assert isinstance(sample.target, np.ndarray)
    assert sample.target.dtype == np.int64
    return sample.target


def flat(tmp_path: Path, number: int = 40) -> Path:
    """A folder of files without classes, each of the alphabet in another order."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "flat"
    folder.mkdir()
    for each in range(number):
        (folder / f"{each}.txt").write_text(" ".join(rng.permutation(LETTERS)))
    return folder


def test_hidden_tokens_are_told_and_the_others_are_not(tmp_path: Path) -> None:
    repository = vocabulary(tmp_path / "repository", NAMES)
    sets = made(repository, flat(tmp_path), mllib=MASK, **RAW)
    assert (len(sets.train), len(sets.tests[0])) == (30, 10)
    assert sets.classes == list(NAMES)
    rng = np.random.default_rng(7)
    counts = {"told": 0, "hidden": 0, "same": 0, "other": 0}
    for _ in range(10):
        for index in range(30):
            plain = read_ids(tmp_path / "flat", sets.train.read(index, None).uri)
            sample = sets.train.read(index, rng)
            ids, target = sample.inputs["ids"], target_of(sample)
            told = target != -1
            assert np.array_equal(target[told], plain[told])
            assert np.array_equal(ids[~told], plain[~told])
            assert not told[[0, *range(27, 64)]].any()
            assert sample.inputs["mask"].sum() == 28
            counts["told"] += int(told.sum())
            counts["hidden"] += int((ids[told] == 4).sum())
            counts["same"] += int((ids[told] == plain[told]).sum())
            counts["other"] += int(((ids[told] != 4) & (ids[told] != plain[told])).sum())
            assert (ids[told] >= 4).all()
    # 7,800 tokens: four standard deviations of 15 %, then of 80 %, 10 % and 10 %.
    assert counts["told"] / 7800 == pytest.approx(0.15, abs=0.017)
    assert counts["hidden"] / counts["told"] == pytest.approx(0.8, abs=0.05)
    assert counts["same"] / counts["told"] == pytest.approx(0.1, abs=0.04)
    assert counts["other"] / counts["told"] == pytest.approx(0.1, abs=0.04)


def read_ids(folder: Path, uri: str) -> Array:
    """What stands in a file, as ids between the special tokens."""
    assert Path(uri).parent == folder
    letters = Path(uri).read_text().split()
    ids = [2, *(NAMES.index(letter) for letter in letters), 3]
    return np.array(ids + [0] * (64 - len(ids)))


def test_a_test_hides_the_same_tokens_each_time(tmp_path: Path) -> None:
    repository = vocabulary(tmp_path / "repository", NAMES)
    sets = made(repository, flat(tmp_path), mllib=MASK, **RAW)
    first, again = everything(sets.tests[0]), everything(sets.tests[0])
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.inputs["ids"], two.inputs["ids"])
        assert np.array_equal(target_of(one), target_of(two))
    assert len({tuple(np.flatnonzero(target_of(each) != -1)) for each in first}) > 1
    other, same = (sets.train.read(0, np.random.default_rng(seed)) for seed in (1, 1))
    assert np.array_equal(other.inputs["ids"], same.inputs["ids"])


def test_the_shortest_text_has_something_to_tell(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for name, text in (("one", "a"), ("two", "b"), ("none", "")):
        (folder / name).write_text(text)
    repository = vocabulary(tmp_path / "repository", NAMES)
    sets = made(repository, folder, folder, mllib=MASK, ordered_words=True)
    told = {Path(s.uri).name: int((target_of(s) != -1).sum()) for s in everything(sets.train)}
    assert told == {"none": 0, "one": 1, "two": 1}


def test_gpt2_learns_the_next_token_of_each(tmp_path: Path) -> None:
    repository = vocabulary(tmp_path / "repository", ("<|endoftext|>", *LETTERS))
    folder = tmp_path / "flat"
    folder.mkdir()
    (folder / "one").write_text("a b c")
    raw = {"ordered_words": True, "sequence": 6}
    sets = made(repository, folder, folder, mllib={"template": "gpt2"}, **raw)
    sample = sets.train.read(0, np.random.default_rng(0))
    assert sample.inputs["ids"].tolist() == [1, 2, 3, 0, 0, 0]
    assert target_of(sample).tolist() == [2, 3, 0, -1, -1, -1]
    assert sets.classes[:3] == ["<|endoftext|>", "a", "b"]
    cut = made(repository, folder, folder, mllib={"template": "gpt2"}, **{**raw, "sequence": 3})
    assert target_of(cut.train.read(0, None)).tolist() == [2, 3, -1]


def test_classes_of_a_vocabulary_with_gaps_are_numbers_there(tmp_path: Path) -> None:
    (tmp_path / "vocab.dat").write_text("<|endoftext|>\t3\na\t1\n")
    folder = tmp_path / "flat"
    folder.mkdir()
    (folder / "one").write_text("a a")
    sets = made(tmp_path, folder, folder, mllib={"template": "gpt2"}, ordered_words=True)
    assert sets.classes == ["0", "a", "2", "<|endoftext|>"]


def test_class_folders_are_only_folders_to_a_model_of_language(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    (data / "loose.txt").write_text("a")
    repository = vocabulary(tmp_path / "repository", NAMES)
    sets = made(repository, data, data, mllib=MASK, ordered_words=True)
    assert len(sets.train) == 7
    assert not sets.warnings


@pytest.mark.parametrize("raw", [{"ordered_words": True}, {}])
def test_hiding_tokens_needs_a_vocabulary_of_bert(tmp_path: Path, raw: dict[str, Any]) -> None:
    data = written(tmp_path / "set")
    with pytest.raises(InputError, match="self_supervised needs ordered_words and a vocabulary"):
        made(
            tmp_path / "repository",
            data,
            data,
            mllib={"template": "mlp", "self_supervised": "mask"},
            min_count=1,
            **raw,
        )


def test_a_measure_hides_tokens_of_any_text(tmp_path: Path) -> None:
    used = connector(vocabulary(tmp_path, NAMES), ordered_words=True, sequence=30)
    (sample,) = used.labelled(Datum("0", " ".join(LETTERS)), MASK)
    told = target_of(sample) != -1
    assert 0 < told.sum() < 15
    assert sample.inputs["ids"].shape == (30,)
