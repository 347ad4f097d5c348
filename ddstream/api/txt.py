"""`parameters.input` of the text connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from ddstream.api.parameters import ParameterObject

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz 0123456789 ,;.!?:'\"/\\ |_@#$%^&*~`+-=<>()[]{}"
CHARACTERS: Final = 60
"""Characters of a sample, unless `sequence` says otherwise."""
TOKENS: Final = 512
"""Tokens of a sample, unless `sequence` says otherwise."""
LONGEST: Final = 1_000_000
"""Most characters or tokens of a sample: more would be no sample, but a library."""
FEWEST_TOKENS: Final = 3
"""One between the two that bert puts around a text."""

TextMode = Literal["bag", "characters", "tokens"]

READ_BY: Final[Mapping[str, tuple[Sequence[TextMode], Sequence[str]]]] = {
    "bags of words": (["bag"], ["count", "tfidf", "min_count", "min_word_length", "sparse"]),
    "characters": (["characters"], ["alphabet", "read_forward", "embedding"]),
    "ordered_words": (
        ["tokens"],
        ["wordpiece_tokens", "punctuation_tokens", "vocabulary_size"],
    ),
    "characters or ordered_words": (["characters", "tokens"], ["sequence"]),
}
"""What some options need: the modes that read them, and their names."""


class TextInput(ParameterObject):
    """How texts become samples (contract 3.6): bags of words, unless another way is asked for."""

    connector: str = Field(default="txt", description="`txt`.")
    timeout: int = Field(default=6000, ge=-1, le=36000, description="Seconds to fetch the data.")
    sentences: bool = Field(default=False, description="Every line is a text of its own.")
    lower_case: bool = Field(default=True, description="Capitals become small letters first.")
    count: bool = Field(default=True, description="Bags hold how often a word is there, else 1.")
    tfidf: bool = Field(default=False, description="Bags weigh words: rare ones more.")
    min_count: int = Field(
        default=5, ge=0, description="Bags: words that the training set has less often are left."
    )
    min_word_length: int = Field(
        default=5, ge=0, description="Bags: words of fewer characters are left out."
    )
    sparse: bool = Field(
        default=False, description="Bags stay sparse in memory until a batch is made of them."
    )
    characters: bool = Field(default=False, description="Samples are characters, not words.")
    alphabet: str = Field(
        default=ALPHABET, min_length=1, description="Characters that are told apart."
    )
    sequence: int | None = Field(
        default=None,
        ge=1,
        le=LONGEST,
        description=f"Characters of a sample ({CHARACTERS}), or its tokens ({TOKENS}).",
    )
    read_forward: bool = Field(
        default=False, description="Characters from the left to the right; else the last first."
    )
    embedding: bool = Field(
        default=False, description="Characters are numbers for an embedding, not one-hot vectors."
    )
    ordered_words: bool = Field(
        default=False, description="Samples are words in their order; bert and gpt2 need it."
    )
    wordpiece_tokens: bool = Field(default=False, description="The vocabulary has parts of words.")
    punctuation_tokens: bool = Field(
        default=False, description="Each punctuation sign is a token; else it is left out."
    )
    word_start: str = Field(default="", description="What a word's first part begins with.")
    suffix_start: str = Field(default="##", description="What its other parts begin with.")
    vocabulary_size: int = Field(
        default=30_000,
        ge=16,
        le=1_000_000,
        description="Most tokens of a vocabulary that is learned, where the repository has none.",
    )
    test_split: float = Field(default=0.0, ge=0, lt=1, description="Part held out for testing.")
    shuffle: bool = Field(
        default=False, description="Shuffle before splitting by `seed`; else always the same way."
    )
    seed: int = Field(default=-1, description="Seed of the shuffle; -1 is a random one.")
    db: bool = Field(default=False, description="Keep the samples on disk: constant memory.")

    @field_validator("count", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        # The documentation calls it an int.
        return bool(value) if value in (0, 1) else value

    @model_validator(mode="after")
    def _possible(self) -> TextInput:
        if self.characters and self.ordered_words:
            raise ValueError("characters and ordered_words exclude each other")
        if self.ordered_words and self.sequence is not None and self.sequence < FEWEST_TOKENS:
            raise ValueError(f"sequence must be at least {FEWEST_TOKENS} with ordered_words")
        return self

    def unknown(self, where: str) -> list[str]:
        """Also warns of options that have no effect beside the others."""
        return super().unknown(where) + [
            f"{where}.{name} needs {needed}"
            for needed, (modes, names) in READ_BY.items()
            for name in names
            if self.mode not in modes and self._given(name)
        ]

    def _given(self, name: str) -> bool:
        default = type(self).model_fields[name].default
        return name in self.model_fields_set and getattr(self, name) != default

    @property
    def mode(self) -> TextMode:
        """What samples are."""
        if self.characters:
            return "characters"
        return "tokens" if self.ordered_words else "bag"

    @property
    def length(self) -> int:
        """Characters or tokens of a sample; nothing of bags."""
        return self.sequence or (CHARACTERS if self.characters else TOKENS)
