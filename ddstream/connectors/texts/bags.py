"""Texts as bags of words: how often each word of a vocabulary is there (contract 3.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddstream.api.txt import TextInput
from ddstream.connectors.texts.encoder import Kept
from ddstream.connectors.texts.vocabulary import Vocabulary
from ddstream.connectors.texts.words import Splitting
from ddstream.data import Array, Dimensions
from ddstream.errors import InputError

PLACES, WEIGHTS, ROW = "places", "weights", "row"


@dataclass(frozen=True, slots=True)
class Counts:
    """What the training texts told of each word of the vocabulary, by its position."""

    texts: int
    words: Array
    """How often the word is there in all."""
    holders: Array
    """How many texts have it."""

    def to_json(self) -> dict[str, Any]:
        """For the repository."""
        words, holders = self.words.tolist(), self.holders.tolist()
        return {"texts": self.texts, "words": words, "holders": holders}

    @classmethod
    def from_json(cls, raw: Any, size: int) -> Counts:
        """The inverse of `to_json`. Raises InputError if it is not of `size` words."""
        try:
            found = cls(int(raw["texts"]), _numbers(raw["words"]), _numbers(raw["holders"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError("the counts of the vocabulary's words cannot be read") from error
        if not len(found.words) == len(found.holders) == size:
            raise InputError(f"the counts are of {len(found.words)} words, {size} were learned")
        return found


def _numbers(raw: Any) -> Array:
    return np.asarray(raw, np.int64).reshape(-1)


def learned(texts: Iterable[str], wanted: TextInput) -> tuple[Vocabulary, Counts]:
    """The vocabulary of training texts, sorted, and its counts; one pass.

    Raises InputError if no word is long and frequent enough.
    """
    splitting = Splitting.of(wanted)
    words: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    number = 0
    for text in texts:
        number += 1
        found = Counter(w for w in splitting.words(text) if len(w) >= wanted.min_word_length)
        words.update(found)
        holders.update(found.keys())
    kept = sorted(word for word, count in words.items() if count >= wanted.min_count)
    if not kept:
        raise InputError(
            f"no word of {wanted.min_word_length} characters or more is there {wanted.min_count} "
            "times: min_word_length and min_count leave no vocabulary"
        )
    counts = Counts(
        number,
        np.array([words[word] for word in kept], np.int64),
        np.array([holders[word] for word in kept], np.int64),
    )
    return Vocabulary.of(kept), counts


@dataclass(frozen=True, slots=True)
class Bag:
    """Counts the known words of a text; weighed with `tfidf`. A sample is `row`, float32.

    The weight of a word that is there n times: ln(1 + n / its count in all training texts) times
    ln(1 + texts / texts that have it).
    """

    vocabulary: Vocabulary
    counts: Counts | None
    wanted: TextInput
    splitting: Splitting = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "splitting", Splitting.of(self.wanted))

    @property
    def dimensions(self) -> Dimensions:
        """A column a word."""
        return Dimensions(columns=self.vocabulary.size)

    def keep(self, text: str) -> dict[str, Array]:
        """Positions of the words that are there, in order, and their weights."""
        found: Counter[int] = Counter()
        for word in self.splitting.words(text):
            if len(word) >= self.wanted.min_word_length:
                place = self.vocabulary.ids.get(word)
                if place is not None:
                    found[place] += 1
        pairs = sorted(found.items())
        places = np.array([place for place, _ in pairs], np.int32)
        numbers = np.array([number for _, number in pairs], np.float64)
        return self._weighed(places, numbers if self.wanted.count else np.ones_like(numbers))

    def inputs(self, kept: Kept) -> dict[str, Array]:
        """The row with a column for each word."""
        row = np.zeros(self.vocabulary.size, np.float32)
        row[kept[PLACES]] = kept[WEIGHTS]
        return {ROW: row}

    def _weighed(self, places: Array, numbers: Array) -> dict[str, Array]:
        if self.counts is not None:
            frequent = self.counts.words[places] >= self.wanted.min_count
            places, numbers = places[frequent], numbers[frequent]
            if self.wanted.tfidf:
                share = numbers / np.maximum(self.counts.words[places], 1)
                rarity = self.counts.texts / np.maximum(self.counts.holders[places], 1)
                numbers = np.log1p(share) * np.log1p(rarity)
        return {PLACES: places, WEIGHTS: numbers.astype(np.float32)}


def from_files(wanted: TextInput, vocabulary: Vocabulary, raw: Mapping[str, Any] | None) -> Bag:
    """The bag of a repository. Raises InputError where tf-idf is asked for without its counts."""
    if raw is None and wanted.tfidf:
        raise InputError("tfidf needs the counts that a training has kept beside its vocabulary")
    return Bag(vocabulary, None if raw is None else Counts.from_json(raw, vocabulary.size), wanted)
