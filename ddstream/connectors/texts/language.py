"""Language: tokens that are hidden, or that follow, are what a model learns to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from ddstream.connectors.texts.tokens import IDS, Tokens
from ddstream.connectors.texts.vocabulary import END, MASK
from ddstream.data import Array, Sample
from ddstream.errors import InputError

IGNORED: Final = -1
"""The target of places that count for nothing."""
CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
"""Share of the tokens that are to be told; of these, shares that are hidden, and that are another
token; the others stay (Devlin et al. 2019)."""
_TEST_SEED: Final = 1
"""The places that are hidden in a test set are the same in every test."""

Goal = Literal["class", "masked", "next"]
"""What a model is to tell: the class of a text, its hidden tokens, or each next token."""


def goal_of(mllib: Mapping[str, Any], tokens: Tokens | None) -> Goal:
    """What the raw `parameters.mllib` want. Raises InputError where the samples cannot have it."""
    if mllib.get("self_supervised") == "mask":
        if tokens is None or tokens.kind != "bert":
            raise InputError("self_supervised needs ordered_words and a vocabulary of bert's")
        return "masked"
    return "next" if tokens is not None and tokens.kind == "gpt2" else "class"


@dataclass(frozen=True, slots=True)
class Language:
    """Gives samples of tokens their targets: int64 ids of length L, -1 where nothing counts."""

    tokens: Tokens
    goal: Goal

    def sample(self, sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
        """The sample of a training (`rng`) or of a test."""
        inputs, number = self.tokens.inputs(sample.inputs), len(sample.inputs[IDS])
        ids = inputs[IDS]
        if self.goal == "next":
            target = np.full_like(ids, IGNORED)
            target[: number - 1] = ids[1:number]
            return replace(sample, inputs=inputs, target=target)
        ids, target = self._masked(ids, rng or np.random.default_rng((_TEST_SEED, index)))
        return replace(sample, inputs=inputs | {IDS: ids}, target=target)

    def _masked(self, ids: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """The ids with some of them hidden, and what was there; of a text with any token one."""
        places = np.flatnonzero(self.tokens.ordinary[ids])
        chosen = places[rng.random(len(places)) < CHOSEN]
        if len(places) and not len(chosen):
            chosen = rng.choice(places, 1)
        target = np.full_like(ids, IGNORED)
        target[chosen] = ids[chosen]
        how = rng.random(len(chosen))
        hidden = ids.copy()
        hidden[chosen[how < MASKED]] = self.tokens.vocabulary.ids[MASK]
        others = chosen[(how >= MASKED) & (how < MASKED + REPLACED)]
        hidden[others] = rng.choice(np.flatnonzero(self.tokens.ordinary), len(others))
        return hidden, target


def prompt(tokens: Tokens, kept: Array) -> dict[str, Any]:
    """What an answer needs to know of a text's places: `last`, that of the last token of a prompt
    (gpt2); `masked`, those that are to be told (bert)."""
    ids = tokens.vocabulary.ids
    if tokens.kind == "gpt2":
        ended = len(kept) > 0 and kept[-1] == ids[END]
        return {"last": max(0, len(kept) - 1 - ended)}
    if tokens.kind == "bert":
        return {"masked": np.flatnonzero(kept == ids[MASK]).tolist()}
    return {}
