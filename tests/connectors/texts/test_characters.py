"""Characters: the alphabet, the length, the direction, one-hot vectors and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.api.txt import ALPHABET
from ddstream.data import Array, Sample
from ddstream.errors import InputError
from tests.connectors.texts.sets import Stage, at_predict, at_services, at_train, connector, read

CHARACTERS: dict[str, Any] = {"characters": True, "alphabet": "abcd", "sequence": 4}


def promised(name: str, *more: str) -> list[Any]:
    """The three ways of giving an option, each with its promise."""
    stages = {"services": at_services, "predict": at_predict, "train": at_train}
    return [
        pytest.param(
            stage,
            marks=pytest.mark.promise(*(f"{where}.input.txt.{each}" for each in (name, *more))),
            id=where,
        )
        for where, stage in stages.items()
    ]


def spelled(sample: Sample, alphabet: str) -> str:
    """What one-hot vectors say; a dot where nothing is."""
    vectors = sample.inputs["row"].reshape(-1, len(alphabet))
    assert vectors.dtype == np.float32
    assert set(vectors.sum(1).tolist()) <= {0.0, 1.0}
    return "".join(alphabet[v.argmax()] if v.any() else "." for v in vectors)


@pytest.mark.parametrize("stage", promised("characters", "alphabet"))
def test_characters_are_one_hot_vectors_of_the_alphabet(tmp_path: Path, stage: Stage) -> None:
    sample = stage(tmp_path, "dab?", {**CHARACTERS, "read_forward": True})
    assert spelled(sample, "abcd") == "dab."
    (expected,) = [sample.inputs["row"].shape]
    assert expected == (16,)


@pytest.mark.parametrize("stage", promised("sequence"))
@pytest.mark.parametrize("length", [2, 6])
def test_every_sample_has_the_given_length(tmp_path: Path, stage: Stage, length: int) -> None:
    sample = stage(tmp_path, "abcd", {**CHARACTERS, "sequence": length, "read_forward": True})
    assert spelled(sample, "abcd") == "abcd..abcd"[: length if length > 4 else 2]


@pytest.mark.parametrize("stage", promised("read_forward"))
def test_the_last_character_comes_first_unless_read_forward(tmp_path: Path, stage: Stage) -> None:
    assert spelled(stage(tmp_path / "a", "aabcd", CHARACTERS), "abcd") == "dcba"
    forward = {**CHARACTERS, "read_forward": True}
    assert spelled(stage(tmp_path / "b", "aabcd", forward), "abcd") == "aabc"


@pytest.mark.promise(
    "services.input.txt.alphabet", "train.input.txt.alphabet", "predict.input.txt.alphabet"
)
def test_the_default_alphabet_has_letters_digits_and_signs(tmp_path: Path) -> None:
    expected = "abcdefghijklmnopqrstuvwxyz0123456789 ,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{}"
    assert set(ALPHABET) == set(expected)
    (sample,) = read(connector(tmp_path, characters=True), "Text\n9}")
    letters = "".join(dict.fromkeys(ALPHABET))
    assert sample.inputs["row"].shape == (60 * 69,)
    assert spelled(sample, letters).rstrip(".") == "}9.txet"


@pytest.mark.promise("train.input.txt.embedding")
@pytest.mark.parametrize("stage", [at_train, at_services, at_predict])
def test_an_embedding_gets_numbers_in_the_place_of_vectors(tmp_path: Path, stage: Stage) -> None:
    raw: dict[str, Any] = {**CHARACTERS, "sequence": 6, "embedding": True, "read_forward": True}
    sample = stage(tmp_path, "ad?b", raw)
    assert sample.inputs["ids"].tolist() == [1, 4, 0, 2, 0, 0]
    assert sample.inputs["ids"].dtype == np.int64
    found = connector(tmp_path / "other", **raw).dimensions()
    assert (found.steps, found.vocabulary, found.columns) == (6, 5, 0)


def test_capitals_are_small_letters_unless_they_are_told_apart(tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "characters": True,
        "alphabet": "aA",
        "sequence": 2,
        "read_forward": True,
    }
    assert spelled(read(connector(tmp_path, **raw), "Aa")[0], "aA") == "aa"
    assert spelled(read(connector(tmp_path, lower_case=False, **raw), "Aa")[0], "aA") == "Aa"


def test_characters_and_ordered_words_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exclude each other"):
        connector(tmp_path, characters=True, ordered_words=True)


def test_embedding_without_characters_is_warned_of(tmp_path: Path) -> None:
    used = connector(tmp_path, embedding=True)
    assert used.parameters.unknown("input") == ["input.embedding needs characters"]


def slow(text: str, alphabet: str, length: int, *, forward: bool) -> Array:
    """One-hot vectors, written down one by one."""
    letters = list(dict.fromkeys(alphabet))
    found = np.zeros((length, len(letters)))
    lowered = text.lower() if forward else text[::-1].lower()
    for place, letter in enumerate(lowered[:length]):
        if letter in letters:
            found[place, letters.index(letter)] = 1
    return found.reshape(-1)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=30),
    st.text(min_size=1, max_size=9),
    st.integers(1, 20),
    st.booleans(),
)
def test_vectors_agree_with_a_slow_writing_down(
    text: str, alphabet: str, length: int, forward: bool
) -> None:
    used = connector(
        Path(), characters=True, alphabet=alphabet, sequence=length, read_forward=forward
    )
    (sample,) = read(used, text)
    assert np.array_equal(sample.inputs["row"], slow(text, alphabet, length, forward=forward))
