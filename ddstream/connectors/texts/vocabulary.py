"""Vocabularies: which number a token has, as `vocab.dat` keeps it (contract 3.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ddstream.errors import InputError

VOCABULARY: Final = "vocab.dat"
MOST_IDS: Final = 10_000_000
"""A position above is no row of any embedding, but a broken file."""
TAB, COMMA = "\t", ","

TokenKind = Literal["bert", "gpt2", "words"]
"""What a model takes of a text: its tokens between two special ones, followed by one, or alone."""
CLS, SEP, UNK, MASK, PAD = "[CLS]", "[SEP]", "[UNK]", "[MASK]", "[PAD]"
END = "<|endoftext|>"
SPECIAL: Final = frozenset({CLS, SEP, UNK, MASK, PAD, END})
NEEDED: Mapping[TokenKind, tuple[str, ...]] = {
    "bert": (CLS, SEP, UNK, MASK),
    "gpt2": (END,),
    "words": (),
}
"""Special tokens that each kind has to find in its vocabulary."""
FIRST: Mapping[TokenKind, tuple[str, ...]] = {
    "bert": (PAD, UNK, CLS, SEP, MASK),
    "gpt2": (END,),
    "words": (PAD, UNK),
}
"""What a learned vocabulary begins with; id 0 fills what a text leaves free."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens and their ids, which may have gaps."""

    ids: Mapping[str, int]
    size: int = field(init=False)
    """One more than the highest id."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", max(self.ids.values(), default=-1) + 1)

    @classmethod
    def of(cls, tokens: Iterable[str]) -> Vocabulary:
        """Tokens with the ids 0, 1, ...; one that comes again keeps its first."""
        return cls({token: number for number, token in enumerate(dict.fromkeys(tokens))})

    @classmethod
    def parse(cls, content: bytes, separator: str, where: str) -> Vocabulary:
        """The vocabulary of a file, `token separator position` a line.

        Raises InputError that names the line.
        """
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{where} is not UTF-8") from error
        ids: dict[str, int] = {}
        # Not `splitlines`: a token may be one of the characters that end lines elsewhere.
        for number, line in enumerate(text.split("\n"), start=1):
            if line := line.removesuffix("\r"):
                token, position = _entry(line, separator, f"line {number} of {where}")
                if ids.setdefault(token, position) != position:
                    raise InputError(f"line {number} of {where}: {token[:40]!r} is there twice")
        return cls(ids)

    def file(self, separator: str) -> bytes:
        """The content of its file."""
        return "".join(f"{token}{separator}{each}\n" for token, each in self.ids.items()).encode()

    def names(self) -> list[str]:
        """Tokens in the order of their ids; an id without a token has its number as name."""
        found = [str(number) for number in range(self.size)]
        for token, number in self.ids.items():
            found[number] = token
        return found

    def check(self, kind: TokenKind) -> None:
        """Raises InputError where special tokens of a kind are missing."""
        if missing := [token for token in NEEDED[kind] if token not in self.ids]:
            raise InputError(f"{VOCABULARY} has no {' '.join(missing)}: {kind} needs them")

    @property
    def kind(self) -> TokenKind:
        """What its special tokens are made for."""
        if CLS in self.ids:
            return "bert"
        return "gpt2" if END in self.ids else "words"


def _entry(line: str, separator: str, where: str) -> tuple[str, int]:
    token, found, position = line.rpartition(separator)
    name = "tab" if separator == TAB else "comma"
    if not found or not token:
        raise InputError(f"{where}: a token, a {name} and a position are expected")
    # Only ASCII digits: `int` reads more.
    plain = position.isascii() and position.isdigit() and len(position) <= len(str(MOST_IDS))
    number = int(position) if plain else -1
    if not 0 <= number < MOST_IDS:
        raise InputError(f"{where}: {position[:40]!r} is no position")
    return token, number
