"""Learning a vocabulary of words, or of parts of words, where a repository has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from ddstream.api.txt import TextInput
from ddstream.connectors.texts.vocabulary import FIRST, TokenKind, Vocabulary
from ddstream.connectors.texts.words import Splitting
from ddstream.errors import InputError

LONGEST_WORD: Final = 100
"""Longer ones are no words (codes, addresses) and teach nothing of others."""
_PRIVATE: Final = 0xF0000
"""First of the code points that no text has (Unicode's planes of private use). Inside of words they
stand for characters, so that these are told apart from the same ones at a word's start."""
_AT_ONCE: Final = 1000


def learned(texts: Iterable[str], wanted: TextInput, kind: TokenKind) -> Vocabulary:
    """A vocabulary of training texts, of `vocabulary_size` tokens at most, special ones first.

    The same texts give the same vocabulary. Raises InputError for texts without a word.
    """
    splitting = Splitting.of(wanted)
    counts = Counter(word for text in texts for word in splitting.words(text))
    if not counts:
        raise InputError("the training texts have no word")
    room = wanted.vocabulary_size - len(FIRST[kind])
    found = _pieces(counts, wanted, room) if wanted.wordpiece_tokens else ranked(counts)
    return Vocabulary.of([*FIRST[kind], *found[:room]])


def ranked(counts: Mapping[str, int]) -> list[str]:
    """By count, then by name."""
    return sorted(counts, key=lambda each: (-counts[each], each))


def _pieces(counts: Counter[str], wanted: TextInput, room: int) -> list[str]:
    """Characters at the start of words and in them, then what is most often side by side, merged
    again and again (Sennrich, Haddow and Birch 2016)."""
    words = {w: n for w, n in counts.items() if len(w) <= LONGEST_WORD and max(w) < chr(_PRIVATE)}
    inside = sorted({letter for word in words for letter in word[1:]})
    hidden = {ord(letter): _PRIVATE + number for number, letter in enumerate(inside)}
    shown = {code: letter for letter, code in hidden.items()}
    spelled = {word[0] + word[1:].translate(hidden): n for word, n in words.items()}
    letters: Counter[str] = Counter()
    for word, number in spelled.items():
        for letter in word:
            letters[letter] += number
    # Rare signs must not take the place of words.
    known = set(ranked(letters)[: max(1, room // 2)])
    tokens = _merged({w: n for w, n in spelled.items() if known.issuperset(w)}, room)
    return [
        (wanted.suffix_start if ord(token[0]) in shown else wanted.word_start)
        + token.translate(shown)
        for token in tokens
    ]


def _merged(words: Mapping[str, int], room: int) -> list[str]:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = BpeTrainer(vocab_size=room, min_frequency=2, show_progress=False)
    tokenizer.train_from_iterator(_repeated(words), trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _repeated(words: Mapping[str, int]) -> Iterator[str]:
    """Each word as often as it is there: the library counts by itself."""
    for word, number in words.items():
        for done in range(0, number, _AT_ONCE):
            yield " ".join([word] * min(_AT_ONCE, number - done))
