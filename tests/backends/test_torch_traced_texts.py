"""Traced models of texts (contract 5.8): bert with a head of ours, masked words, what follows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from ddstream.templates import TEMPLATES
from tests.backends.texts import TINY, Texts
from tests.connectors.texts.sets import BERT, vocabulary, written

MASK: dict[str, Any] = {"template": "bert", "self_supervised": "mask", "template_params": TINY}
CLASSIFIER: dict[str, Any] = {"template": "bert", "nclasses": 2, "embedding_size": 16}
GPT2 = ("<|endoftext|>", "new", "york")
TEXTS = {"fruit": ["new"] * 8, "metal": ["york"] * 8}


class Reader(nn.Module):
    """Reads a text as a traced bert does: a result, then the hidden states of all layers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(BERT), 16)
        self.mixed = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)

    def forward(
        self, ids: torch.Tensor, types: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        first = self.words(ids)
        seen = (first * mask.unsqueeze(2)).sum(1, keepdim=True) + first
        last = self.norm(torch.tanh(self.mixed(seen)).transpose(1, 2)).transpose(1, 2)
        return last[:, 0], [first, last]


class Mute(nn.Module):
    """Has no hidden states to tell."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(BERT), 16)

    def forward(self, ids: torch.Tensor, types: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.words(ids)[:, 0]
        return first * mask[:, :1] + types[:, :1]


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        path.write_bytes(torch.jit.script(module.eval()).save_to_buffer())  # type: ignore[no-untyped-call]
    return path


def traced(name: str, words: int, path: Path, **params: Any) -> Path:
    """A file of a template's own model, traced with texts of 12 tokens."""
    module = TEMPLATES.load(name)(Dimensions(2, steps=12, vocabulary=words), {**TINY, **params})
    ids = torch.ones(2, 12, dtype=torch.int64)
    inputs = (ids, ids, ids) if name == "bert" else (ids, torch.arange(12).expand(2, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = torch.jit.trace(module.eval(), inputs)  # type: ignore[no-untyped-call]
    path.write_bytes(content.save_to_buffer())
    return path


@pytest.fixture
def service(tmp_path: Path) -> Texts:
    """A classifier whose repository has a traced bert and its vocabulary."""
    torch.manual_seed(0)
    scripted(Reader(), vocabulary(tmp_path / "model").path / "bert.pt")
    return Texts(tmp_path / "model", CLASSIFIER)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("texts") / "set", TEXTS)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.jit.load(path).state_dict())  # type: ignore[no-untyped-call]


@pytest.mark.promise("templates.bert", "services.torch.embedding_size")
def test_a_traced_bert_learns_classes_with_a_head_of_ours(service: Texts, data: Path) -> None:
    assert not service.load().trained
    found, _ = service.train(data, ["acc"], solver={"iterations": 30})
    assert found["acc"] == 1
    files = {path.name for path in service.folder.iterdir()}
    assert {"bert.pt", "checkpoint-30.pt", "checkpoint-30.ptw", "solver-30.pt"} <= files
    assert service.load().trained
    assert service.ask("york")["classes"][0]["cat"] == "metal"
    assert service.load().stats().params == 16 * 12 + 16 * 17 + 32 + 34
    before, after = (weights(service.folder / f"{n}.pt") for n in ("bert", "checkpoint-30"))
    assert not torch.equal(before["mixed.weight"], after["mixed.weight"])


@pytest.mark.promise("services.torch.freeze_traced")
def test_what_is_frozen_stays_while_the_head_learns(service: Texts, data: Path) -> None:
    frozen = service.over(freeze_traced=True)
    stats = frozen.load().stats()
    assert (stats.params, stats.frozen_params) == (16 * 12 + 16 * 17 + 32 + 34, 496)
    found, _ = frozen.train(data, ["acc"], solver={"iterations": 60})
    assert found["acc"] == 1
    before, after = (weights(service.folder / f"{n}.pt") for n in ("bert", "checkpoint-60"))
    # Not even what a norm has seen.
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.promise("services.torch.freeze_traced")
def test_the_body_of_a_built_bert_can_be_frozen(tmp_path: Path, data: Path) -> None:
    repository = vocabulary(tmp_path).path
    frozen = Texts(repository, {**CLASSIFIER, "freeze_traced": True, "template_params": TINY})
    frozen.train(data, snapshot=1, solver={"iterations": 2, "snapshot": 1})
    first, second = (torch.load(repository / f"checkpoint-{n}.npt") for n in (1, 2))
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    with pytest.raises(ParameterError, match="freeze_traced: the model has no head of its own"):
        Texts(vocabulary(tmp_path / "other").path, {**MASK, "freeze_traced": True}).load()


def test_a_training_goes_on_from_its_traced_checkpoint(service: Texts, data: Path) -> None:
    service.train(data, solver={"iterations": 3})
    head = torch.load(service.folder / "checkpoint-3.ptw")
    found, _ = service.train(data, solver={"iterations": 4}, resume=True)
    assert found["iteration"] == 4
    later = torch.load(service.folder / "checkpoint-4.ptw")
    assert 0 < (head["weight"] - later["weight"]).abs().max() < 0.05


def test_a_published_model_has_its_head(service: Texts, data: Path, tmp_path: Path) -> None:
    service.train(data, solver={"iterations": 30})
    (tmp_path / "copy").mkdir()
    service.repository.publish(Repository(tmp_path / "copy"))
    copy = Texts(tmp_path / "copy", CLASSIFIER)
    assert copy.ask("york") == service.ask("york")
    assert not (tmp_path / "copy" / "bert.pt").exists()


def test_another_number_of_classes_needs_finetuning(service: Texts, data: Path) -> None:
    service.train(data)
    three = service.over(nclasses=3)
    with pytest.raises(ParameterError, match=r"weight is \[2, 16\] in the file and \[3, 16\]"):
        three.load()
    backend = three.over(finetuning=True).load()
    assert backend.warnings[0].startswith("finetuning: not loaded from checkpoint-3.ptw: weight")
    assert not backend.trained


@pytest.mark.promise("predict.torch.extract_layer")
@pytest.mark.parametrize(("layer", "count"), [("last", 2), ("final", 16), ("hidden_state", 192)])
def test_what_the_head_is_given_can_be_extracted(service: Texts, layer: str, count: int) -> None:
    assert len(service.ask("new york", {"extract_layer": layer})["vals"]) == count
    with pytest.raises(ParameterError, match="unknown extract layer mixed; there is: last, final"):
        service.ask("new york", {"extract_layer": "mixed"})


@pytest.mark.promise("services.torch.embedding_size")
def test_a_head_of_another_width_than_the_traced_net_says_so(service: Texts) -> None:
    with pytest.raises(ParameterError, match=r"takes 24 numbers .* the traced net gives 16"):
        service.over(embedding_size=24).ask("new")


def test_a_traced_net_without_hidden_states_says_so(tmp_path: Path) -> None:
    scripted(Mute(), vocabulary(tmp_path).path / "bert.pt")
    with pytest.raises(ParameterError, match="no list of hidden states as the second"):
        Texts(tmp_path, CLASSIFIER).ask("new")


def test_sizes_of_a_traced_net_cannot_be_asked_for(service: Texts) -> None:
    with pytest.raises(ParameterError, match="template_params need a template that is built"):
        service.over(template_params=TINY).load()


def test_a_traced_bert_tells_masked_words_by_its_own_head(tmp_path: Path, data: Path) -> None:
    traced("bert", len(BERT), vocabulary(tmp_path).path / "m.pt", self_supervised="mask")
    service = Texts(tmp_path, {"template": "bert", "self_supervised": "mask", "finetuning": True})
    assert "finetuning has no effect" in service.load().warnings[0]
    service.train(data)
    assert (tmp_path / "checkpoint-3.pt").exists()
    assert service.ask("new [MASK]")["classes"][0]["cat"] in BERT


@pytest.mark.promise("templates.gpt2")
def test_a_traced_gpt2_tells_what_follows(tmp_path: Path, data: Path) -> None:
    traced("gpt2", len(GPT2), vocabulary(tmp_path, GPT2).path / "g.pt")
    service = Texts(tmp_path, {"template": "gpt2"})
    found = service.ask("new", best=-1)["classes"]
    assert {each["cat"] for each in found} == set(GPT2)
    service.train(data, solver={"iterations": 30})
    assert service.ask("york")["classes"][0]["cat"] == "<|endoftext|>"
