"""Models of texts on Torch: bert and gpt2 learn, are kept, loaded, asked and looked into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertForMaskedLM

from ddstream.data import Batch, Datum
from ddstream.errors import ParameterError
from tests.backends.texts import TINY, TOKENS, Texts
from tests.connectors.texts.sets import BERT, vocabulary, written

CLASSIFIER: dict[str, Any] = {"template": "bert", "nclasses": 2, "template_params": TINY}
MASK: dict[str, Any] = {"template": "bert", "self_supervised": "mask", "template_params": TINY}
GPT2: dict[str, Any] = {"template": "gpt2", "template_params": TINY}
TEXTS = {
    "fruit": ["apples and cherries", "lemons, cherries!", "apples; apples", "green lemons"],
    "metal": ["copper and silver", "silver, silver!", "copper; silver", "red copper"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of short texts."""
    return written(tmp_path_factory.mktemp("texts") / "set", TEXTS)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Texts:
    """A bert that has learned the two classes."""
    service = Texts(tmp_path_factory.mktemp("classifier"), CLASSIFIER)
    found, _ = service.train(data, solver={"iterations": 60})
    assert found["train_loss"] < 0.1
    return service


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Texts:
    """A bert that has learned to tell masked words."""
    service = Texts(tmp_path_factory.mktemp("masked"), MASK)
    service.train(data)
    return service


@pytest.fixture(scope="module")
def following(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Texts:
    """A gpt2 that has learned what follows."""
    service = Texts(tmp_path_factory.mktemp("following"), GPT2)
    service.train(data, solver={"iterations": 60})
    return service


@pytest.mark.promise("templates.bert")
def test_bert_tells_the_class_of_a_text(classifier: Texts) -> None:
    found = classifier.ask("copper and silver", best=2)["classes"]
    assert [each["cat"] for each in found] == ["metal", "fruit"]
    assert sum(each["prob"] for each in found) == pytest.approx(1)
    assert classifier.load().mltype == "classification"
    assert classifier.load().trained


def test_a_training_of_bert_has_the_measures_of_a_classifier(tmp_path: Path, data: Path) -> None:
    asked = ["acc", "f1", "mcll", "cmdiag", "cmfull"]
    found, _ = Texts(tmp_path, CLASSIFIER).train(data, asked)
    assert found["iteration"] == 3
    assert {*asked, "recall", "precision", "labels"} <= set(found)
    assert len(found["cmdiag"]) == 2


@pytest.mark.promise("services.torch.embedding_size", "templates.bert")
def test_the_embedding_size_is_that_of_the_tokens(tmp_path: Path, data: Path) -> None:
    sizes = {name: value for name, value in TINY.items() if name != "hidden_size"}
    service = Texts(tmp_path, {**CLASSIFIER, "embedding_size": 24, "template_params": sizes})
    service.train(data, solver={"iterations": 1})
    assert len(service.ask("silver", {"extract_layer": "final"})["vals"]) == 24
    with pytest.raises(ParameterError, match="embedding_size 24 numbers, tokens have hidden_size"):
        Texts(vocabulary(tmp_path / "other").path, {**CLASSIFIER, "embedding_size": 24}).load()
    with pytest.raises(ParameterError, match="embedding_size"):
        service.over(embedding_size=0).load()


@pytest.mark.promise("services.torch.self_supervised", "templates.bert")
def test_bert_learns_to_tell_masked_words(masked: Texts) -> None:
    found = masked.ask("silver [MASK] silver", best=3)["classes"]
    words = {line.split("\t")[0] for line in (masked.folder / "vocab.dat").read_text().split("\n")}
    assert len(found) == 3
    assert {each["cat"] for each in found} <= words
    assert masked.load().mltype == "language"
    for wrong in ("words", "nsp"):
        with pytest.raises(ParameterError, match="self_supervised must be one of: mask"):
            masked.over(self_supervised=wrong).load()
    with pytest.raises(ParameterError, match="self_supervised needs the template bert"):
        masked.over(template="gpt2").load()


@pytest.mark.promise("services.torch.self_supervised")
def test_masked_words_are_measured_without_a_matrix_of_classes(tmp_path: Path, data: Path) -> None:
    asked = ["f1", "acc", "acc-5", "mcll", "cmdiag", "cmfull"]
    found, said = Texts(tmp_path, MASK).train(data, asked)
    assert {"f1", "acc", "acc-5", "mcll"} <= set(found)
    assert not {"cmdiag", "cmfull"} & set(found)
    assert any("cmfull is no measure of language" in each for each in said)
    assert found["iteration"] == 3


@pytest.mark.promise("templates.gpt2")
def test_gpt2_tells_what_follows_a_prompt(following: Texts) -> None:
    found = following.ask("copper and", best=-1)["classes"]
    lines = (following.folder / "vocab.dat").read_text(encoding="utf-8").splitlines()
    assert len(found) == len(lines)
    assert sum(each["prob"] for each in found) == pytest.approx(1, abs=1e-4)
    assert found[0]["cat"] in ("silver", "cherries")
    # The prompt's own end, not that of its padding.
    assert following.ask("copper", best=1)["classes"] != found[:1]


def test_a_model_of_language_knows_words_before_any_training(tmp_path: Path) -> None:
    vocabulary(tmp_path, BERT)
    found = Texts(tmp_path, MASK).ask("new [MASK]", best=-1)["classes"]
    assert {each["cat"] for each in found} == set(BERT)


def test_a_number_of_classes_means_nothing_to_a_model_of_language(
    tmp_path: Path, data: Path
) -> None:
    _, said = Texts(tmp_path, {**MASK, "nclasses": 2}).train(data, solver={"iterations": 1})
    assert any("nclasses and ntargets have no effect" in each for each in said)


def test_bert_needs_a_goal(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="BERT only supports self-supervised or classif"):
        Texts(tmp_path, {"template": "bert"}).load()


@pytest.mark.parametrize(
    ("layer", "numbers"),
    [("last", 2), ("final", 16), ("hidden_state", 12 * 16), ("bert", 12 * 16), ("classifier", 2)],
)
@pytest.mark.promise("predict.torch.extract_layer")
def test_layers_of_bert_can_be_extracted(classifier: Texts, layer: str, numbers: int) -> None:
    found = classifier.ask("silver", {"extract_layer": layer})
    assert len(found["vals"]) == numbers
    assert found["classes"] == []


@pytest.mark.promise("predict.torch.extract_layer")
def test_the_final_layer_is_the_first_token_of_the_hidden_state(classifier: Texts) -> None:
    hidden = classifier.ask("silver", {"extract_layer": "hidden_state"})["vals"]
    assert classifier.ask("silver", {"extract_layer": "final"})["vals"] == hidden[:16]
    scores = classifier.ask("silver", {"extract_layer": "last"})["vals"]
    shares = torch.tensor(scores).softmax(0).tolist()
    probs = [each["prob"] for each in classifier.ask("silver", best=-1)["classes"]]
    assert sorted(probs) == pytest.approx(sorted(shares), abs=1e-5)


@pytest.mark.promise("predict.torch.extract_layer")
def test_layers_of_language_can_be_extracted(masked: Texts, following: Texts) -> None:
    words = len((masked.folder / "vocab.dat").read_text().splitlines())
    assert len(masked.ask("a", {"extract_layer": "last"})["vals"]) == 12 * words
    for service in (masked, following):
        assert len(service.ask("a", {"extract_layer": "hidden_state"})["vals"]) == 12 * 16
    with pytest.raises(ParameterError, match=r"unknown extract layer pooler; there is: last, "):
        masked.ask("a", {"extract_layer": "pooler"})


@pytest.mark.promise("predict.output.logits_blob")
def test_the_logits_of_a_class_are_the_values_of_a_layer(classifier: Texts) -> None:
    plain = classifier.ask("silver", best=2)
    assert "logits" not in plain
    found = classifier.ask("silver", best=2, logits_blob="last")
    logits = found.pop("logits")
    assert found == plain
    names = classifier.repository.classes()
    shares = dict(zip(names, torch.tensor(logits).softmax(0).tolist(), strict=True))
    assert {each["cat"]: each["prob"] for each in found["classes"]} == pytest.approx(shares)
    assert classifier.ask("silver", logits_blob="classifier")["logits"] == pytest.approx(logits)
    first = classifier.ask("silver", {"extract_layer": "final"})["vals"]
    assert classifier.ask("silver", logits_blob="final")["logits"] == pytest.approx(first)


def test_logits_of_what_is_no_layer_or_no_class_are_refused(
    classifier: Texts, masked: Texts
) -> None:
    with pytest.raises(ParameterError, match="logits_blob: unknown layer fc1000; there is: last,"):
        classifier.ask("silver", logits_blob="fc1000")
    with pytest.raises(ParameterError, match="logits_blob: classifications have logits only"):
        masked.ask("silver [MASK]", logits_blob="last")
    with pytest.raises(ParameterError, match="logits_blob: classifications have logits only"):
        classifier.ask("silver", {"extract_layer": "last"}, logits_blob="last")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_public_weights_are_where_a_service_begins(tmp_path: Path, suffix: str) -> None:
    vocabulary(tmp_path, BERT)
    sizes: dict[str, Any] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
    }
    theirs = BertForMaskedLM(
        BertConfig(vocab_size=len(BERT), hidden_size=16, intermediate_size=64, **sizes)
    )
    state = {name: each.contiguous().clone() for name, each in theirs.state_dict().items()}
    path = tmp_path / f"public{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert Texts(tmp_path, MASK).load().trained
    service = Texts(tmp_path, CLASSIFIER)
    with pytest.raises(ParameterError, match=r"classifier.weight is missing in the file"):
        service.load()
    backend = service.over(finetuning=True).load()
    assert not backend.trained
    assert "finetuning: not loaded from public" in backend.warnings[0]
    assert "classifier.weight" in backend.warnings[0]


def test_a_model_of_masked_words_becomes_a_classifier(tmp_path: Path, data: Path) -> None:
    Texts(tmp_path, MASK).train(data)
    service = Texts(tmp_path, {**CLASSIFIER, "finetuning": True})
    skipped, *rest = service.load().warnings
    assert "cls.predictions" in skipped
    assert not rest
    assert service.load().mltype == "classification"
    (tmp_path / "solver-3.pt").unlink()
    found, _ = service.train(data, solver={"iterations": 4})
    assert "mcll" not in found
    assert service.ask("silver")["classes"][0]["cat"] in TEXTS
    with pytest.raises(ParameterError, match=r"self_supervised stands in parameters\.mllib, not"):
        service.over(template_params={**TINY, "self_supervised": "mask"}).load()


def test_what_fills_a_text_is_not_computed(classifier: Texts) -> None:
    backend = classifier.load()
    assert backend._prepared is not None
    lengths: list[int] = []
    for form in backend._prepared._fast.values():
        embeddings = form.get_submodule("bert.embeddings")
        embeddings.register_forward_hook(lambda _, __, found: lengths.append(found.shape[1]))
    connector = classifier._connector({})
    texts = ["silver", "copper, copper and red copper, silver"]
    samples = [next(iter(connector.read(Datum("0", text)))) for text in texts]
    call = backend.call_parameters(classifier.mllib)
    alone, both = (backend.forward(Batch.of(part), call) for part in (samples[:1], samples))
    assert lengths == [8, 12]
    np.testing.assert_allclose(alone["output"], both["output"][:1], atol=1e-5)
    # A layer has the same size for every text.
    layer = backend.call_parameters({**classifier.mllib, "extract_layer": "hidden_state"})
    assert backend.forward(Batch.of(samples[:1]), layer)["output"].shape == (1, 12, 16)


def test_a_text_has_no_more_tokens_than_positions(tmp_path: Path, data: Path) -> None:
    service = Texts(tmp_path, CLASSIFIER, {**TOKENS, "sequence": 20})
    with pytest.raises(
        ParameterError, match=r"texts of 20 tokens .* longer than template_params.max_positions, 16"
    ):
        service.train(data)
