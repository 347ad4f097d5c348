"""Texts as tokens in their order, for bert, gpt2 and models of plain ids (contract 3.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from ddstream.api.txt import TextInput
from ddstream.connectors.texts.encoder import Kept
from ddstream.connectors.texts.vocabulary import (
    CLS,
    END,
    MASK,
    SEP,
    SPECIAL,
    UNK,
    TokenKind,
    Vocabulary,
)
from ddstream.connectors.texts.words import Pieces, Splitting, Whole
from ddstream.data import Array, Dimensions

IDS, TYPES, ATTENTION, POSITIONS = "ids", "types", "mask", "positions"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The ids of a text's tokens, cut after `length`, then padded with 0; int64.

    bert: `ids` with the special tokens around them, `types` of zeros, `mask` of 1 where a token is.
    gpt2: `ids` with the end's token where there is room, and `positions`; tokens that it does not
    know are left out. Other models: `ids`.
    """

    vocabulary: Vocabulary
    kind: TokenKind
    wanted: TextInput
    splitting: Splitting = field(init=False)
    pieces: Pieces | Whole = field(init=False)
    ordinary: Array = field(init=False)
    """Which ids are tokens of texts, and not special ones or gaps; bool, by id."""

    def __post_init__(self) -> None:
        ids, wanted = self.vocabulary.ids, self.wanted
        parts = (
            Pieces(ids, wanted.word_start, wanted.suffix_start)
            if wanted.wordpiece_tokens
            else Whole(ids)
        )
        object.__setattr__(self, "splitting", Splitting.of(wanted))
        object.__setattr__(self, "pieces", parts)
        object.__setattr__(self, "ordinary", _ordinary(self.vocabulary))

    @property
    def dimensions(self) -> Dimensions:
        """Tokens of a sample, and the ids that they can have."""
        return Dimensions(steps=self.wanted.length, vocabulary=self.vocabulary.size)

    def tokens(self, text: str) -> Iterator[int]:
        """The ids of a text, as they are taken. For bert a `[MASK]` in it is the special token."""
        if self.kind != "bert" or MASK not in text:
            yield from self._plain(text)
            return
        for number, part in enumerate(text.split(MASK)):
            if number:
                yield self.vocabulary.ids[MASK]
            yield from self._plain(part)

    def keep(self, text: str) -> dict[str, Array]:
        """The ids with the special tokens, at most `length`."""
        ids = self.vocabulary.ids
        room = self.wanted.length - 2 * (self.kind == "bert")
        # What does not fit of a long text is not looked at.
        found = list(islice(self.tokens(text), room))
        if self.kind == "bert":
            found = [ids[CLS], *found, ids[SEP]]
        elif self.kind == "gpt2" and len(found) < room:
            found = [*found, ids[END]]
        return {IDS: np.array(found, np.int32)}

    def inputs(self, kept: Kept) -> dict[str, Array]:
        """The arguments of the model, in their order."""
        length, number = self.wanted.length, len(kept[IDS])
        ids = np.zeros(length, np.int64)
        ids[:number] = kept[IDS]
        if self.kind == "gpt2":
            return {IDS: ids, POSITIONS: np.arange(length)}
        if self.kind == "words":
            return {IDS: ids}
        attention = np.zeros(length, np.int64)
        attention[:number] = 1
        return {IDS: ids, TYPES: np.zeros(length, np.int64), ATTENTION: attention}

    def _plain(self, text: str) -> Iterator[int]:
        unknown = self.vocabulary.ids.get(UNK)
        for word in self.splitting.words(text):
            ids = self.pieces.of(word)
            if ids is not None:
                yield from ids
            elif self.kind != "gpt2" and unknown is not None:
                yield unknown


def _ordinary(vocabulary: Vocabulary) -> Array:
    found = np.zeros(vocabulary.size, np.bool_)
    found[[number for token, number in vocabulary.ids.items() if token not in SPECIAL]] = True
    return found
