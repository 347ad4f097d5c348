"""bert and gpt2: sizes of the papers, the numbers of transformers, public weights, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, GPT2Config, PreTrainedModel
from transformers.models.bert.modeling_bert import BertForMaskedLM, BertForPreTraining, BertModel
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel, GPT2Model

from ddstream.backends.torch.network.model import fill
from ddstream.backends.torch.network.weights import read_state
from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates import TEMPLATES
from ddstream.templates.protocol import Unbuilt

TEXTS = Dimensions(outputs=3, steps=10, vocabulary=40)
TINY: dict[str, Any] = {"hidden_size": 16, "layers": 2, "heads": 2, "max_positions": 24}
MASK: dict[str, Any] = {**TINY, "self_supervised": "mask"}
BERT = BertConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=24,
)
GPT2 = GPT2Config(
    vocab_size=40,
    n_embd=16,
    n_layer=2,
    n_head=2,
    n_positions=24,
    bos_token_id=None,
    eos_token_id=None,
)


def built(name: str, dimensions: Dimensions = TEXTS, **params: Any) -> nn.Module:
    return TEMPLATES.load(name)(dimensions, params).eval()


def size(name: str, vocabulary: int, **params: Any) -> int:
    with torch.device("meta"):
        module = built(name, Dimensions(outputs=2, steps=512, vocabulary=vocabulary), **params)
    return sum(p.numel() for p in module.parameters())


def ids(length: int = 10, texts: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(5, 40, (texts, length))


@pytest.mark.promise("templates.bert")
def test_bert_has_the_size_of_its_paper() -> None:
    # transformers tells 109,482,240 of bert-base-uncased, 590,592 of them in its pooler.
    assert size("bert", 30522) == 109_482_240 - 590_592 + 2 * 768 + 2
    assert size("bert", 30522, self_supervised="mask") == 109_514_298


@pytest.mark.promise("templates.gpt2")
def test_gpt2_has_the_size_of_its_paper() -> None:
    assert size("gpt2", 50257) == 124_439_808


@pytest.mark.promise("templates.bert")
def test_bert_tells_masked_words_as_transformers_does() -> None:
    theirs = BertForMaskedLM(BERT).train(False)
    ours = built("bert", **MASK)
    ours.load_state_dict(theirs.state_dict())
    text, mask = ids(), torch.ones(2, 10, dtype=torch.int64)
    mask[1, 6:] = 0
    with torch.no_grad():
        wanted = theirs(input_ids=text, attention_mask=mask).logits
        found = ours(text, torch.zeros_like(text), mask)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert found.shape == (2, 10, 40)


def test_a_classifier_reads_the_first_token_of_the_last_hidden_layer() -> None:
    theirs = BertModel(BERT).train(False)
    ours = built("bert", **TINY)
    fill(ours, theirs.state_dict(), "public.pt", finetuning=True)
    text, mask = ids(), torch.ones(2, 10, dtype=torch.int64)
    with torch.no_grad():
        first = theirs(input_ids=text, attention_mask=mask).last_hidden_state[:, 0]
        wanted = ours.get_submodule("classifier")(first)
        found = ours(text, torch.zeros_like(text), mask)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert found.shape == (2, 3)


@pytest.mark.promise("templates.gpt2")
def test_gpt2_tells_what_follows_as_transformers_does() -> None:
    theirs = GPT2LMHeadModel(GPT2).train(False)
    ours = built("gpt2", **TINY)
    ours.load_state_dict(theirs.state_dict())
    text = ids()
    positions = torch.arange(10).expand(2, 10)
    with torch.no_grad():
        found = ours(text, positions)
        assert torch.allclose(found, theirs(input_ids=text).logits, atol=1e-5)
        # What comes later changes nothing, what fills a text neither.
        assert torch.allclose(ours(text[:, :4], positions[:, :4]), found[:, :4], atol=1e-5)


def test_what_fills_a_text_changes_nothing_in_bert() -> None:
    ours = built("bert", **TINY)
    text, mask = ids(), torch.zeros(2, 10, dtype=torch.int64)
    mask[:, :6] = 1
    zeros = torch.zeros_like(text)
    with torch.no_grad():
        whole = ours(text, zeros, mask)
        short = ours(text[:, :6], zeros[:, :6], mask[:, :6])
    assert torch.allclose(whole, short, atol=1e-5)


def saved(model: PreTrainedModel, folder: Path, name: str) -> Path:
    """A file of weights as libraries write it: shared ones once in safetensors, else twice."""
    if name.endswith(".pt"):
        torch.save(model.state_dict(), folder / name)
        return folder / name
    model.save_pretrained(folder)
    return folder / "model.safetensors"


PUBLIC: Mapping[str, tuple[PreTrainedModel, str, dict[str, Any]]] = {
    "masked": (BertForMaskedLM(BERT), "bert", MASK),
    "pretraining": (BertForPreTraining(BERT), "bert", MASK),
    "gpt2": (GPT2LMHeadModel(GPT2), "gpt2", TINY),
    "gpt2-bare": (GPT2Model(GPT2), "gpt2", TINY),
}


@pytest.mark.parametrize("file", ["public.pt", "model.safetensors"])
@pytest.mark.parametrize("kind", PUBLIC)
def test_public_weights_load_whole(tmp_path: Path, kind: str, file: str) -> None:
    theirs, name, params = PUBLIC[kind]
    ours = built(name, **params)
    assert fill(ours, read_state(saved(theirs, tmp_path, file)), file) == []
    own, given = ours.state_dict(), theirs.state_dict()
    prefix = "transformer." if kind == "gpt2-bare" else ""
    shared = {f"{prefix}{name}" for name in given} & set(own)
    assert len(shared) >= len(own) - 1
    assert all(torch.equal(own[each], given[each.removeprefix(prefix)]) for each in shared)


def test_names_of_old_files_are_known() -> None:
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): each
        for name, each in BertForMaskedLM(BERT).state_dict().items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(24)
    assert fill(built("bert", **MASK), old, "old.pt") == []
    masks = {f"h.{n}.attn.bias": torch.ones(1, 1, 24, 24) for n in range(2)}
    bare = {**GPT2Model(GPT2).state_dict(), **masks}
    assert fill(built("gpt2", **TINY), bare, "old.pt") == []


def test_a_head_that_is_not_in_the_file_is_an_error_or_fresh() -> None:
    state = BertForMaskedLM(BERT).state_dict()
    with pytest.raises(ParameterError, match=r"classifier\.weight is missing in the file"):
        fill(built("bert", **TINY), state, "public.pt")
    skipped = fill(built("bert", **TINY), state, "public.pt", finetuning=True)
    assert {"classifier.weight", "classifier.bias", "cls.predictions.bias"} <= set(skipped)
    assert not any(name.startswith("bert.") for name in skipped)
    other = built("bert", **{**TINY, "hidden_size": 32})
    with pytest.raises(ParameterError, match=r"word_embeddings.weight is \[40, 16\] in the file"):
        fill(other, BertModel(BERT).state_dict(), "public.pt")


@pytest.mark.parametrize(
    ("name", "params", "inputs"), [("bert", TINY, 3), ("bert", MASK, 3), ("gpt2", TINY, 2)]
)
def test_every_weight_learns(name: str, params: dict[str, Any], inputs: int) -> None:
    module = built(name, **params)
    text = ids()
    others = {2: [torch.arange(10).expand(2, 10)], 3: [torch.zeros_like(text), text > 0]}[inputs]
    module(text, *(each.long() for each in others)).square().sum().backward()
    still = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    # A constant added to all keys of an attention changes nothing.
    assert [each for each in still if not each.endswith("key.bias")] == []


def test_the_embedding_size_is_the_width_of_tokens() -> None:
    module = built("bert", embedding_size=24, layers=1, heads=2)
    assert module.get_submodule("classifier").in_features == 24
    assert built("gpt2", embedding_size=24, layers=1, heads=2).get_submodule("lm_head")
    with pytest.raises(ParameterError, match="embedding_size 24 numbers, tokens have hidden_size"):
        built("bert", embedding_size=24, hidden_size=48)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"hidden_size": 20, "heads": 3}, "3 heads cannot share hidden_size 20"),
        ({"layers": 0}, "layers"),
        ({"width": 5}, "unknown template_params: width; there is: "),
        ({"dropout": 1.0}, "dropout"),
        ({"max_positions": 9}, r"10 tokens .* longer than template_params.max_positions, 9"),
    ],
)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_impossible_sizes_are_refused(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        built(name, **params)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_without_a_vocabulary_a_model_waits(name: str) -> None:
    with pytest.raises(Unbuilt, match="no vocabulary of ordered words"):
        built(name, Dimensions(outputs=2))
