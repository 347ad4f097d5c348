"""bert: transformers that read a text from both sides (Devlin et al. 2019).

Parameters have the names of transformers' `BertForMaskedLM`; a classifier has those of `BertModel`
below `bert.`, and a linear layer `classifier` on the first token of the last hidden layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertForMaskedLM, BertModel

from ddstream.data import Dimensions
from ddstream.templates.language import (
    FirstToken,
    State,
    TextParameters,
    prefixed,
    vocabulary_size,
)
from ddstream.templates.protocol import ClassifierParameters

CLASSES: Final = 2
"""Classes of a model that nobody gave a number."""
DECODER: Final = "cls.predictions.decoder"
SPREAD: Final = 0.02
"""Standard deviation of fresh weights."""
_UNUSED = re.compile(r"bert\.pooler\.|cls\.seq_relationship\.|bert\.embeddings\.position_ids$")
"""What public checkpoints have and nothing here takes part in: the guess whether two sentences
follow each other, and numbers that count from 0 on."""


class BertParameters(TextParameters, ClassifierParameters):
    """`template_params` of bert, and what stands beside them in `mllib`."""

    max_positions: int = Field(default=512, ge=1, description="Most tokens of a text.")
    self_supervised: Literal["", "mask"] = Field(
        default="", description="`mask`: the model tells words that were masked."
    )


def bert(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A classifier, or with `self_supervised` a model that tells masked words."""
    wanted = BertParameters.read(params)
    config = BertConfig(
        vocab_size=vocabulary_size(dimensions, wanted.max_positions),
        hidden_size=wanted.hidden_size,
        num_hidden_layers=wanted.layers,
        num_attention_heads=wanted.heads,
        intermediate_size=wanted.inner,
        max_position_embeddings=wanted.max_positions,
        hidden_dropout_prob=wanted.dropout,
        attention_probs_dropout_prob=wanted.dropout,
    )
    if wanted.self_supervised:
        return BertLanguage(config)
    return BertClassifier(config, wanted.outputs(dimensions.outputs, CLASSES))


class BertClassifier(nn.Module):
    """Scores of a text's classes by its first token."""

    def __init__(self, config: BertConfig, classes: int) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.first = FirstToken()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, classes)
        nn.init.normal_(self.classifier.weight, std=SPREAD)
        nn.init.zeros_(self.classifier.bias)

    @property
    def body(self) -> nn.Module:
        """What `freeze_traced` leaves as it is."""
        return self.bert

    @property
    def extractable(self) -> Mapping[str, str]:
        """Names of layers beside those of modules (contract 2.10)."""
        return {"hidden_state": last_block(self.bert), "final": "first"}

    @staticmethod
    def translated(state: State) -> State:
        """Public weights by the names of this model."""
        return translated(state)

    def forward(self, ids: torch.Tensor, types: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits N x C of ids, token types and attention mask, N x L each."""
        hidden = self.bert(input_ids=ids, token_type_ids=types, attention_mask=mask)
        scores: torch.Tensor = self.classifier(self.dropout(self.first(hidden.last_hidden_state)))
        return scores


class BertLanguage(nn.Module):
    """Scores of the vocabulary's words at each place of a text."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        whole = BertForMaskedLM(config)
        self.bert, self.cls = whole.bert, whole.cls

    @property
    def extractable(self) -> Mapping[str, str]:
        """Names of layers beside those of modules."""
        return {"hidden_state": last_block(self.bert)}

    @staticmethod
    def translated(state: State) -> State:
        """Public weights by the names of this model, with those that two layers share."""
        found = dict(translated(state))
        shared = {
            f"{DECODER}.weight": "bert.embeddings.word_embeddings.weight",
            f"{DECODER}.bias": "cls.predictions.bias",
        }
        for name, same in shared.items():
            if same in found:
                found.setdefault(name, found[same])
        return found

    def forward(self, ids: torch.Tensor, types: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits N x L x V of ids, token types and attention mask, N x L each."""
        hidden = self.bert(input_ids=ids, token_type_ids=types, attention_mask=mask)
        scores: torch.Tensor = self.cls(hidden.last_hidden_state)
        return scores


def last_block(model: BertModel) -> str:
    """Where the last hidden states are in a model that has this one as `bert`."""
    return f"bert.encoder.layer.{model.config.num_hidden_layers - 1}"


def translated(state: State) -> State:
    """Weights of a `BertModel`, or of a model around one, old ones too: `gamma` and `beta` were the
    names of a norm's weight and bias."""
    found = {}
    for name, each in prefixed(state, "embeddings.", "bert.").items():
        name = re.sub(r"\.LayerNorm\.gamma$", ".LayerNorm.weight", name)
        name = re.sub(r"\.LayerNorm\.beta$", ".LayerNorm.bias", name)
        if not _UNUSED.match(name):
            found[name] = each
    return found
