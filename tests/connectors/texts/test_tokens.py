"""Ordered words: splitting, parts of words, special tokens, and what bert and gpt2 are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.models import WordPiece

from ddstream.connectors.texts.words import Pieces, Splitting
from ddstream.data import Array
from ddstream.errors import InputError
from tests.connectors.texts.sets import (
    BERT,
    Stage,
    connector,
    made,
    read,
    vocabulary,
    written,
)
from tests.connectors.texts.test_characters import promised

ORDERED: dict[str, Any] = {"ordered_words": True, "sequence": 8}
PIECES: dict[str, Any] = {**ORDERED, "wordpiece_tokens": True}
SIGNS = ",.;:`'!?)(-|><^·&\"\\/{}#$\N{EN DASH}=+"


def tokens(ids: Array, names: Sequence[str] = BERT) -> str:
    """The tokens of ids, without what pads."""
    return " ".join(names[number] for number in ids).replace(" [PAD]", "")


@pytest.mark.parametrize("stage", promised("ordered_words")[:1] + promised("ordered_words")[2:])
def test_ordered_words_are_ids_types_and_mask_of_bert(tmp_path: Path, stage: Stage) -> None:
    vocabulary(tmp_path / "repository")
    sample = stage(tmp_path, "New York, new nowhere", ORDERED)
    assert list(sample.inputs) == ["ids", "types", "mask"]
    assert sample.inputs["ids"].tolist() == [2, 5, 6, 5, 1, 3, 0, 0]
    assert sample.inputs["types"].tolist() == [0] * 8
    assert sample.inputs["mask"].tolist() == [1] * 6 + [0] * 2
    assert {each.dtype for each in sample.inputs.values()} == {np.dtype(np.int64)}


STAGES = [0, 2]
"""Of the ways of giving an option those that the documentation lists for ordered words."""


@pytest.mark.parametrize("stage", [promised("wordpiece_tokens", "suffix_start")[i] for i in STAGES])
def test_parts_of_words_are_the_longest_that_the_vocabulary_has(
    tmp_path: Path, stage: Stage
) -> None:
    vocabulary(tmp_path / "repository")
    sample = stage(tmp_path, "New Yorkers Yorkest", PIECES)
    assert tokens(sample.inputs["ids"]) == "[CLS] new york ##er ##s [UNK] [SEP]"
    dashed = vocabulary(tmp_path / "other" / "repository", [*BERT[:7], "-er", "-s"])
    assert dashed
    sample = stage(tmp_path / "other", "Yorkers", {**PIECES, "suffix_start": "-"})
    assert sample.inputs["ids"].tolist()[:5] == [2, 6, 7, 8, 3]


@pytest.mark.parametrize("stage", [promised("punctuation_tokens")[i] for i in STAGES])
def test_punctuation_signs_are_tokens_or_gaps(tmp_path: Path, stage: Stage) -> None:
    vocabulary(tmp_path / "repository")
    vocabulary(tmp_path / "other" / "repository")
    text = "new,york!\N{EN DASH}s"
    sample = stage(tmp_path, text, {**ORDERED, "punctuation_tokens": True})
    assert tokens(sample.inputs["ids"]) == "[CLS] new , york ! [UNK] [SEP]"
    sample = stage(tmp_path / "other", text, ORDERED)
    assert tokens(sample.inputs["ids"]) == "[CLS] new york s [SEP]"


@pytest.mark.parametrize("stage", [promised("word_start")[i] for i in STAGES])
def test_a_word_may_have_a_mark_at_its_start(tmp_path: Path, stage: Stage) -> None:
    names = ("<|endoftext|>", "Ġnew", "Ġyork", "er", "s", "new")
    vocabulary(tmp_path / "repository", names)
    raw = {**PIECES, "word_start": "Ġ", "suffix_start": ""}
    sample = stage(tmp_path, "New yorkers", raw)
    assert tokens(sample.inputs["ids"][:5], names) == "Ġnew Ġyork er s <|endoftext|>"


def test_gpt2_gets_ids_and_positions_and_no_unknown_words(tmp_path: Path) -> None:
    used = connector(vocabulary(tmp_path, ("a", "b", "<|endoftext|>")), ordered_words=True)
    (sample,) = read(used, "b x a")
    assert list(sample.inputs) == ["ids", "positions"]
    assert sample.inputs["ids"].tolist() == [1, 0, 2] + [0] * 509
    assert sample.inputs["positions"].tolist() == list(range(512))
    assert sample.meta == {"last": 1}


def test_the_end_of_a_text_needs_room(tmp_path: Path) -> None:
    used = connector(
        vocabulary(tmp_path, ("a", "b", "<|endoftext|>")), ordered_words=True, sequence=3
    )
    ids = [read(used, text)[0].inputs["ids"].tolist() for text in ("a b", "a b b", "b b b a", "")]
    assert ids == [[0, 1, 2], [0, 1, 1], [1, 1, 1], [2, 0, 0]]
    assert [read(used, text)[0].meta["last"] for text in ("a b", "a b b", "")] == [1, 2, 0]


def test_a_long_text_is_cut_between_its_special_tokens(tmp_path: Path) -> None:
    used = connector(vocabulary(tmp_path), **ORDERED)
    (sample,) = read(used, "new york " * 1000)
    assert tokens(sample.inputs["ids"]) == "[CLS] new york new york new york [SEP]"
    assert sample.inputs["mask"].all()
    (whole,) = read(connector(vocabulary(tmp_path), ordered_words=True), "new")
    assert whole.inputs["ids"].shape == (512,)


def test_dimensions_are_the_length_and_the_ids(tmp_path: Path) -> None:
    found = connector(vocabulary(tmp_path), **ORDERED).dimensions()
    assert (found.steps, found.vocabulary) == (8, 12)


def test_a_mask_in_a_text_is_the_special_token(tmp_path: Path) -> None:
    raw = {**PIECES, "punctuation_tokens": True}
    (sample,) = read(connector(vocabulary(tmp_path), **raw), "new [MASK]ers!")
    assert tokens(sample.inputs["ids"]) == "[CLS] new [MASK] [UNK] ! [SEP]"
    assert sample.meta == {"masked": (2,)} or sample.meta == {"masked": [2]}


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    repository = vocabulary(tmp_path / "repository", ("a", "[CLS]"))
    with pytest.raises(InputError, match=r"no \[SEP\] \[UNK\] \[MASK\]: bert needs them"):
        made(repository, data, data, mllib={"template": "bert"}, **ORDERED)
    with pytest.raises(InputError, match=r"no <\|endoftext\|>: gpt2 needs them"):
        made(repository, data, data, mllib={"template": "gpt2"}, **ORDERED)


@pytest.mark.parametrize("template", ["bert", "gpt2"])
def test_templates_of_language_need_ordered_words(tmp_path: Path, template: str) -> None:
    data = written(tmp_path / "set")
    with pytest.raises(InputError, match="Need ordered_words = true with backend torch"):
        made(tmp_path, data, data, mllib={"template": template})


def test_a_vocabulary_is_learned_where_there_is_none(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    repository = tmp_path / "repository"
    sets = made(repository, data, data, mllib={"template": "bert"}, **PIECES)
    assert any("learned from the training texts" in warning for warning in sets.warnings)
    lines = (repository / "vocab.dat").read_text(encoding="utf-8").splitlines()
    assert lines[:5] == [f"{token}\t{n}" for n, token in enumerate(BERT[:5])]
    assert len(lines) == sets.dimensions.vocabulary
    names = [line.split("\t")[0] for line in lines]
    # Whatever is written in these letters has tokens.
    (sample,) = read(connector(repository, **PIECES), "silver clever")
    assert "[UNK]" not in tokens(sample.inputs["ids"], names)
    assert "silver" in tokens(sample.inputs["ids"], names)
    again = made(repository, data, data, mllib={"template": "bert"}, **PIECES)
    assert not again.warnings
    assert again.files["vocab.dat"] == sets.files["vocab.dat"]


def test_learning_is_the_same_each_time_and_keeps_to_its_size(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    raw = {**PIECES, "vocabulary_size": 32, "word_start": "Ġ", "suffix_start": ""}
    files = [
        made(tmp_path / name, data, data, mllib={"template": "gpt2"}, **raw).files["vocab.dat"]
        for name in ("one", "two")
    ]
    assert files[0] == files[1]
    names = [line.split("\t")[0] for line in files[0].decode().splitlines()]
    assert names[0] == "<|endoftext|>"
    assert 16 < len(names) <= 32
    assert any(name.startswith("Ġ") for name in names)


def test_whole_words_are_learned_by_how_often_they_come(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    raw = {**ORDERED, "vocabulary_size": 16}
    made(tmp_path / "repository", data, data, mllib={"template": "mlp"}, **raw)
    lines = (tmp_path / "repository" / "vocab.dat").read_text().splitlines()
    assert lines[:5] == ["[PAD]\t0", "[UNK]\t1", "apples\t2", "silver\t3", "and\t4"]
    (sample,) = read(connector(tmp_path / "repository", **raw), "silver lining")
    assert list(sample.inputs) == ["ids"]
    assert sample.inputs["ids"].tolist() == [3, 1, 0, 0, 0, 0, 0, 0]


def test_splitting_keeps_to_the_listed_signs() -> None:
    plain = Splitting()
    assert list(plain.words("a" + "b".join(SIGNS) + "c")) == ["a", *"b" * (len(SIGNS) - 1), "c"]
    assert list(plain.words("a@b_c%d*e~f[g]")) == ["a@b_c%d*e~f[g]"]
    signs = Splitting(punctuation=True)
    assert list(signs.words("Don't\tstop_now\N{EN DASH}")) == [
        *("don", "'", "t", "stop", "_", "now\N{EN DASH}")
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abc#", min_size=1, max_size=4), max_size=12, unique=True),
    st.text("abc", min_size=1, max_size=12),
)
def test_parts_agree_with_another_tokeniser(pieces: list[str], word: str) -> None:
    ids = {token: number for number, token in enumerate(["[UNK]", *pieces])}
    found = Pieces(ids).of(word)
    wanted = [token.id for token in WordPiece(ids, unk_token="[UNK]").tokenize(word)]
    assert list(found if found is not None else [0]) == wanted


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_words_and_signs_lose_nothing_but_white_space(text: str) -> None:
    found = Splitting(lower_case=False, punctuation=True).words(text)
    assert "".join(found) == "".join(text.split())


def test_a_word_without_end_is_split_in_reasonable_time() -> None:
    ids = {"a": 0, "##a": 1, "##aa": 2}
    found = Pieces(ids).of("a" * 100_001)
    assert found is not None
    assert found == (0, *[2] * 50_000)


@pytest.mark.parametrize("raw", [{"sequence": 2}, {"sequence": 0}, {"vocabulary_size": 3}])
def test_impossible_sizes_are_refused(tmp_path: Path, raw: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        connector(tmp_path, ordered_words=True, **raw)
