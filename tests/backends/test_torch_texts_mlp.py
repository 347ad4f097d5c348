"""Texts of every kind through a perceptron: bags, characters and ids, in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ddstream.errors import ParameterError
from tests.backends.texts import Texts
from tests.connectors.texts.sets import written

MLP: dict[str, Any] = {"template": "mlp", "nclasses": 2, "template_params": {"layers": [16]}}
WORDS: dict[str, Any] = {"connector": "txt", "min_count": 1, "min_word_length": 1}
LETTERS: dict[str, Any] = {"connector": "txt", "characters": True, "sequence": 24}
TEXTS = {
    "fruit": ["apples and cherries", "cherries, apples!", "apples; apples", "cherries"] * 2,
    "metal": ["copper and silver", "silver, copper!", "copper; silver", "silver"] * 2,
}
KINDS: Mapping[str, dict[str, Any]] = {
    "counts": WORDS,
    "yes-or-no": {**WORDS, "count": False},
    "tf-idf": {**WORDS, "tfidf": True},
    "sparse": {**WORDS, "sparse": True},
    "on-disk": {**WORDS, "sparse": True, "db": True},
    "letters": LETTERS,
    "letters-forward": {**LETTERS, "read_forward": True},
    "embedding": {**LETTERS, "embedding": True},
    "ordered": {"connector": "txt", "ordered_words": True, "sequence": 6},
    "sentences": {**WORDS, "sentences": True},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of short texts."""
    return written(tmp_path_factory.mktemp("texts") / "set", TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_every_kind_teach_a_perceptron(tmp_path: Path, data: Path, kind: str) -> None:
    service = Texts(tmp_path, MLP, KINDS[kind])
    found, _ = service.train(data, ["acc", "f1"], solver={"iterations": 60})
    assert found["acc"] == 1
    assert service.ask("copper and silver")["classes"][0]["cat"] == "metal"
    assert service.ask("apples and cherries")["classes"][0]["cat"] == "fruit"


@pytest.mark.promise("services.torch.multi_label", "predict.torch.multi_label")
def test_classes_of_texts_may_have_scores_of_their_own(tmp_path: Path, data: Path) -> None:
    service = Texts(tmp_path, {**MLP, "multi_label": True}, WORDS)
    found, _ = service.train(data, ["acc", "kl"], solver={"iterations": 60})
    assert found["sensitivity"] == found["specificity"] == found["f1"] == 1
    assert "kl_divergence" in found
    both = service.ask("silver apples copper cherries silver apples", best=-1)["classes"]
    nothing = service.ask("something else", best=-1)["classes"]
    assert sum(each["prob"] for each in both) != pytest.approx(1, abs=1e-3)
    assert len(both) == len(nothing) == 2


@pytest.mark.promise("predict.output.regression")
def test_the_scores_of_a_text_can_be_a_vector(tmp_path: Path, data: Path) -> None:
    service = Texts(tmp_path, MLP, WORDS)
    service.train(data)
    found = service.ask("silver", regression=True)
    assert {each["cat"] for each in found["vector"]} == {"fruit", "metal"}
    assert found["classes"] == []
    last = service.ask("silver", {"extract_layer": "last"})["vals"]
    assert sorted(each["val"] for each in found["vector"]) == pytest.approx(sorted(last))


def test_texts_have_classes_and_no_numbers_to_learn(tmp_path: Path, data: Path) -> None:
    service = Texts(tmp_path, {"template": "mlp", "ntargets": 1}, WORDS)
    with pytest.raises(ParameterError, match="ntargets: texts have classes, no numbers"):
        service.train(data)


@pytest.mark.parametrize("kind", ["counts", "embedding", "ordered"])
def test_the_layers_of_a_perceptron_of_texts_are_extracted(
    tmp_path: Path, data: Path, kind: str
) -> None:
    service = Texts(tmp_path, MLP, KINDS[kind])
    service.train(data)
    assert len(service.ask("silver", {"extract_layer": "hidden"})["vals"]) == 16
    assert len(service.ask("silver", logits_blob="hidden")["logits"]) == 16
