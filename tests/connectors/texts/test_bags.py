"""Bags of words: counts, weights, what is left out, and what a training leaves for predictions."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.errors import InputError
from tests.connectors.texts.sets import WORDS, connector, everything, made, read, row, written

ORDER = ["and", "apples", "cherries", "copper", "lemons", "like", "silver"]


def trained(tmp_path: Path, **raw: Any) -> Path:
    """A repository after a training on the two classes."""
    data = written(tmp_path / "set")
    made(tmp_path / "repository", data, data, **{**WORDS, **raw})
    return tmp_path / "repository"


def test_the_vocabulary_is_kept_as_words_and_positions(tmp_path: Path) -> None:
    repository = trained(tmp_path)
    lines = (repository / "vocab.dat").read_text().splitlines()
    assert lines == [f"{word},{number}" for number, word in enumerate(ORDER)]


@pytest.mark.promise("train.input.txt.count")
def test_rows_of_a_training_count_words(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    sets = made(tmp_path / "repository", data, data, **WORDS)
    rows = [sample.inputs["row"].tolist() for sample in everything(sets.train)]
    assert rows[0] == [1, 2, 1, 0, 0, 0, 0]
    assert rows[4] == [0, 0, 0, 1, 0, 0, 2]
    assert sets.dimensions.columns == 7
    assert everything(sets.train)[0].inputs["row"].dtype == np.float32
    ones = made(tmp_path / "other", data, data, count=False, **WORDS)
    assert everything(ones.train)[4].inputs["row"].tolist() == [0, 0, 0, 1, 0, 0, 1]


@pytest.mark.promise("predict.input.txt.count")
@pytest.mark.parametrize(("count", "value"), [(True, 3.0), (False, 1.0), (0, 1.0)])
def test_predictions_count_words_or_only_tell_them(
    tmp_path: Path, count: bool, value: float
) -> None:
    repository = trained(tmp_path)
    found = row(connector(repository, count=count), "silver lining: Silver, silver")
    assert found.tolist() == [0, 0, 0, 0, 0, 0, value]


@pytest.mark.promise("train.input.txt.min_count")
def test_words_that_are_rare_in_the_training_set_have_no_place(tmp_path: Path) -> None:
    repository = trained(tmp_path, min_count=3)
    words = [line.split(",")[0] for line in (repository / "vocab.dat").read_text().splitlines()]
    assert words == ["apples", "silver"]


@pytest.mark.promise("predict.input.txt.min_count")
def test_a_prediction_may_leave_out_more_of_the_rare_words(tmp_path: Path) -> None:
    repository = trained(tmp_path)
    text = "apples like silver lemons"
    assert row(connector(repository), text).tolist() == [0, 1, 0, 0, 1, 1, 1]
    assert row(connector(repository, min_count=4), text).tolist() == [0, 1, 0, 0, 0, 0, 1]


@pytest.mark.promise("train.input.txt.min_word_length")
def test_short_words_have_no_place(tmp_path: Path) -> None:
    repository = trained(tmp_path, min_word_length=7)
    assert (repository / "vocab.dat").read_text() == "cherries,0\n"


@pytest.mark.promise("predict.input.txt.min_word_length")
def test_a_prediction_may_leave_out_more_short_words(tmp_path: Path) -> None:
    repository = trained(tmp_path)
    found = row(connector(repository, min_word_length=5), "and like silver")
    assert found.tolist() == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.promise("train.input.txt.min_count", "train.input.txt.min_word_length")
def test_both_bounds_are_five_unless_said_otherwise(tmp_path: Path) -> None:
    texts = {"one": ["apple pear " * 5, "grape " * 4]}
    data = written(tmp_path / "set", texts)
    made(tmp_path / "repository", data, data)
    assert (tmp_path / "repository" / "vocab.dat").read_text() == "apple,0\n"


def test_bounds_that_leave_no_word_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="min_word_length and min_count leave no vocabulary"):
        trained(tmp_path, min_count=50)


def weight(times: int, total: int, texts: int, holders: int) -> float:
    """The weight of a word, by its formula."""
    return math.log(1 + times / total) * math.log(texts / holders + 1)


@pytest.mark.promise("train.input.txt.tfidf")
def test_rows_of_a_training_are_weighed(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    sets = made(tmp_path / "repository", data, data, tfidf=True, **WORDS)
    first = everything(sets.train)[0].inputs["row"]
    wanted = [weight(1, 2, 6, 2), weight(2, 4, 6, 3), weight(1, 2, 6, 2), 0, 0, 0, 0]
    assert first == pytest.approx(wanted, rel=1e-6)


@pytest.mark.promise("predict.input.txt.tfidf")
def test_predictions_are_weighed_by_the_counts_of_the_training(tmp_path: Path) -> None:
    repository = trained(tmp_path)
    found = row(connector(repository, tfidf=True), "silver silver")
    assert found == pytest.approx([0] * 6 + [weight(2, 4, 6, 3)], rel=1e-6)
    again = trained(tmp_path / "again", tfidf=True)
    assert row(connector(again), "silver silver") == pytest.approx(found)


def test_weights_without_the_counts_of_a_training_are_refused(tmp_path: Path) -> None:
    repository = trained(tmp_path)
    (repository / "word_counts.json").unlink()
    assert row(connector(repository), "silver").sum() == 1
    with pytest.raises(InputError, match="tfidf needs the counts"):
        read(connector(repository, tfidf=True), "silver")


@pytest.mark.promise(
    "services.input.txt.sparse", "train.input.txt.sparse", "predict.input.txt.sparse"
)
def test_sparse_rows_stay_so_until_they_are_read(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    dense = made(tmp_path / "dense", data, data, **WORDS)
    sparse = made(tmp_path / "sparse", data, data, sparse=True, **WORDS)
    assert [s.inputs["row"].tolist() for s in everything(dense.train)] == [
        s.inputs["row"].tolist() for s in everything(sparse.train)
    ]
    held = getattr(sparse.train, "kept").samples  # noqa: B009
    assert {name: each.shape for name, each in held[2].inputs.items()} == {
        "places": (2,),
        "weights": (2,),
    }
    assert getattr(dense.train, "kept").samples[2].inputs["row"].shape == (7,)  # noqa: B009
    for used in (connector(tmp_path / "sparse"), connector(tmp_path / "dense", sparse=True)):
        assert used.parameters.unknown("input") == []
        assert row(used, "silver").tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_a_training_tells_predictions_its_parameters(tmp_path: Path) -> None:
    repository = trained(tmp_path, count=False, lower_case=False)
    used = connector(repository)
    assert (used.parameters.count, used.parameters.lower_case) == (False, False)
    assert row(used, "apples Apples").sum() == 2
    # What is said goes before what is kept.
    assert row(connector(repository, lower_case=True), "apples Apples").sum() == 1


def test_a_repository_without_a_vocabulary_waits_for_a_training(tmp_path: Path) -> None:
    used = connector(tmp_path)
    assert used.dimensions().columns == 0
    assert used.describe() == {}
    with pytest.raises(InputError, match=r"no vocab\.dat: a training makes one"):
        read(used, "text")


def test_dimensions_and_description_follow_the_vocabulary(tmp_path: Path) -> None:
    used = connector(trained(tmp_path))
    assert used.dimensions().columns == 7
    assert used.describe() == {"width": 7, "height": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("word\n", "line 1 of vocab.dat: a token, a comma and a position"),
        ("one,0\ntwo,x\n", "line 2 of vocab.dat: 'x' is no position"),
        ("one,0\none,1\n", "line 2 of vocab.dat: 'one' is there twice"),
        ("one,99999999999\n", "is no position"),
        ("one,\N{SUPERSCRIPT TWO}\n", "is no position"),
    ],
)
def test_a_broken_vocabulary_is_refused_by_its_line(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "vocab.dat").write_text(content, encoding="utf-8")
    used = connector(tmp_path)
    assert used.dimensions().columns == 0
    with pytest.raises(InputError, match=said):
        read(used, "text")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["ab", "cd", "Ef", "ghi", "j"]), min_size=1, max_size=9),
        min_size=1,
        max_size=6,
    )
)
def test_rows_agree_with_another_counting(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]]
) -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    folder = tmp_path_factory.mktemp("bags")
    contents = [" ".join(words) for words in texts]
    data = written(folder / "set", {"one": contents})
    sets = made(folder / "repository", data, data, **WORDS)
    counted = CountVectorizer(token_pattern=r"\S+").fit(contents)
    wanted = counted.transform(contents).toarray()
    rows = {s.uri: s.inputs["row"] for s in everything(sets.train)}
    for number in range(len(texts)):
        assert rows[str(data / "one" / f"{number}.txt")].tolist() == wanted[number].tolist()
    assert set(counted.vocabulary_) == set(Counter(" ".join(contents).lower().split()))
