"""gpt2: transformers that tell what follows (Radford et al. 2019).

Parameters have the names of transformers' `GPT2LMHeadModel`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from pydantic import Field
from torch import nn
from transformers import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

from ddstream.data import Dimensions
from ddstream.templates.language import State, TextParameters, prefixed, vocabulary_size

HEAD: Final = "lm_head.weight"
_TRIANGLE = re.compile(r"transformer\.h\.\d+\.attn\.(masked_)?bias$")
"""Masks of what comes later, which public checkpoints have as if they were weights."""


class Gpt2Parameters(TextParameters):
    """`template_params` of gpt2."""

    max_positions: int = Field(default=1024, ge=1, description="Most tokens of a text.")


def gpt2(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A model that tells the next token of each."""
    wanted = Gpt2Parameters.read(params)
    size = vocabulary_size(dimensions, wanted.max_positions)
    config = GPT2Config(
        vocab_size=size,
        n_embd=wanted.hidden_size,
        n_layer=wanted.layers,
        n_head=wanted.heads,
        n_inner=wanted.inner,
        n_positions=wanted.max_positions,
        resid_pdrop=wanted.dropout,
        embd_pdrop=wanted.dropout,
        attn_pdrop=wanted.dropout,
        # Nothing is generated here; the defaults are ids of the public vocabulary.
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    return Gpt2(config)


class Gpt2(nn.Module):
    """Scores of the vocabulary's tokens at each place: which one follows."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        whole = GPT2LMHeadModel(config)
        self.transformer, self.lm_head = whole.transformer, whole.lm_head

    @property
    def extractable(self) -> Mapping[str, str]:
        """Names of layers beside those of modules (contract 2.10)."""
        return {"hidden_state": "transformer.ln_f"}

    @staticmethod
    def translated(state: State) -> State:
        """Public weights by the names of this model, with those that two layers share."""
        found = prefixed(state, "wte.", "transformer.")
        found = {name: each for name, each in found.items() if not _TRIANGLE.match(name)}
        if "transformer.wte.weight" in found:
            found.setdefault(HEAD, found["transformer.wte.weight"])
        return found

    def forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Logits N x L x V of ids and their positions, N x L each."""
        hidden = self.transformer(input_ids=ids, position_ids=positions)
        scores: torch.Tensor = self.lm_head(hidden.last_hidden_state)
        return scores
