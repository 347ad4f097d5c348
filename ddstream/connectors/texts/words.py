"""Words: how a text is split into words and signs, and a word into the parts of a vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ddstream.api.txt import TextInput

_SEPARATORS: Final = ",.;:`'!?)(-|><^·&\"\\/{}#$\N{EN DASH}=+"
"""What ends a word beside white space, and is no token (contract 3.6)."""
_WORDS = re.compile(rf"[^\s{re.escape(_SEPARATORS)}]+")
_SIGNS: Final = r"!-/:-@\[-`{-~"
"""ASCII punctuation, as ranges of a character class."""
_WORDS_AND_SIGNS = re.compile(rf"[{_SIGNS}]|[^\s{_SIGNS}]+")
MOST_REMEMBERED: Final = 1 << 16
"""Words whose parts are remembered; texts repeat few words often."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """How texts are split: in small letters or not, signs as tokens or as gaps."""

    lower_case: bool = True
    punctuation: bool = False

    @classmethod
    def of(cls, wanted: TextInput) -> Splitting:
        """As the parameters say; bags never have signs."""
        return cls(wanted.lower_case, wanted.ordered_words and wanted.punctuation_tokens)

    def words(self, text: str) -> Iterator[str]:
        """The words, and with `punctuation` the signs, in their order, found as they are taken."""
        pattern = _WORDS_AND_SIGNS if self.punctuation else _WORDS
        found = pattern.finditer(text.lower() if self.lower_case else text)
        return (each.group() for each in found)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Splits words greedily into the longest parts that a vocabulary has, from the left
    (Schuster and Nakajima 2012)."""

    ids: Mapping[str, int]
    word_start: str = ""
    suffix_start: str = "##"
    longest: int = field(init=False)
    _remembered: dict[str, tuple[int, ...] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest", max(map(len, self.ids), default=0))

    def of(self, word: str) -> tuple[int, ...] | None:
        """The ids of a word's parts; None if some of it is in no part."""
        try:
            return self._remembered[word]
        except KeyError:
            found = self._split(word)
        if len(self._remembered) < MOST_REMEMBERED:
            self._remembered[word] = found
        return found

    def _split(self, word: str) -> tuple[int, ...] | None:
        found: list[int] = []
        begin, prefix = 0, self.word_start
        while begin < len(word):
            # No part is longer than the longest token, however long the word is.
            for end in range(min(len(word), begin + self.longest), begin, -1):
                number = self.ids.get(prefix + word[begin:end])
                if number is not None:
                    found.append(number)
                    begin, prefix = end, self.suffix_start
                    break
            else:
                return None
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Whole:
    """Takes words as they are."""

    ids: Mapping[str, int]

    def of(self, word: str) -> Sequence[int] | None:
        """The id of a word, alone; None if the vocabulary has not got it."""
        number = self.ids.get(word)
        return None if number is None else (number,)
