"""Mistakes with texts: each is told by the name of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ddstream.api.txt import TextInput
from ddstream.connectors.texts.connector import TextConnector
from ddstream.data import Datum
from ddstream.errors import InputError, ParameterError
from tests.backends.texts import TINY, TOKENS, Texts

GPT2: Mapping[str, Any] = {"template": "gpt2", "template_params": TINY, "embedding_size": 16}
BERT: Mapping[str, Any] = {**GPT2, "template": "bert", "nclasses": 2}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"sequence": 5}, ["sequence needs characters or ordered_words"]),
        ({"alphabet": "ab"}, ["alphabet needs characters"]),
        ({"characters": True, "tfidf": True}, ["tfidf needs bags of words"]),
        ({"characters": True, "sequence": 5, "alphabet": "ab", "embedding": True}, []),
        (
            {"ordered_words": True, "min_count": 2, "read_forward": True},
            ["min_count needs bags of words", "read_forward needs characters"],
        ),
        ({"ordered_words": True, "sequence": 9, "vocabulary_size": 99, "min_count": 5}, []),
        ({"min_count": 2, "sparse": True, "tfidf": True}, []),
    ],
)
def test_options_of_other_modes_are_told(raw: Mapping[str, Any], told: list[str]) -> None:
    parsed = TextInput.parse(raw, "parameters.input", InputError)
    assert parsed.unknown("parameters.input") == [f"parameters.input.{each}" for each in told]


def test_a_sample_is_no_library() -> None:
    with pytest.raises(InputError, match=r"parameters\.input\.sequence: .* less than or equal"):
        TextInput.parse({"characters": True, "sequence": 10**7}, "parameters.input", InputError)


@pytest.mark.parametrize("mllib", [GPT2, BERT])
def test_texts_without_a_word_teach_nothing(tmp_path: Path, mllib: Mapping[str, Any]) -> None:
    service = Texts(tmp_path / "model", mllib, TOKENS)
    with pytest.raises(InputError, match="the training texts have no word"):
        service.train(_texts(tmp_path / "texts", " \n"))


def test_words_have_no_classes_to_weigh(tmp_path: Path) -> None:
    service = Texts(tmp_path / "model", GPT2, TOKENS)
    with pytest.raises(ParameterError, match=r"parameters\.mllib\.class_weights"):
        service.train(_texts(tmp_path / "texts", "some words"), class_weights=[1, 2])


def _texts(folder: Path, text: str) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            (folder / name / f"{number}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("over", [{"ordered_words": False}, {"characters": True}])
def test_a_model_reads_the_samples_it_was_trained_with(
    tmp_path: Path, over: Mapping[str, Any]
) -> None:
    service = Texts(tmp_path / "model", BERT, TOKENS)
    service.train(_texts(tmp_path / "texts", "some words"))
    other = TextConnector({**TOKENS, "ordered_words": False, **over}, service.repository)
    with pytest.raises(InputError, match="trained with samples of tokens, not"):
        list(other.read(Datum("0", "some words")))
    with pytest.raises(InputError, match="trained with samples of tokens, not"):
        list(other.labelled(Datum("0", tmp_path / "texts"), BERT))


def test_a_training_goes_on_with_its_vocabulary(tmp_path: Path) -> None:
    service = Texts(tmp_path / "model", BERT, TOKENS)
    texts = _texts(tmp_path / "texts", "some words")
    service.train(texts)
    (tmp_path / "model" / "vocab.dat").unlink()
    with pytest.raises(InputError, match=r"no vocab\.dat: the training that goes on needs it"):
        service.train(texts, resume=True, solver={"iterations": 9})
