"""Texts as characters of an alphabet (Zhang, Zhao and LeCun 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddstream.api.txt import TextInput
from ddstream.connectors.texts.encoder import Kept
from ddstream.data import Array, Dimensions

IDS, ROW = "ids", "row"


@dataclass(frozen=True, slots=True)
class Characters:
    """The first `length` characters, the last one first unless read forward.

    A sample is `row`, float32 of length x alphabet: one-hot, nothing where the alphabet has not got
    a character; as an embedding it is `ids`, int64 of length: 0 for such, else the place in the
    alphabet, from 1 on.
    """

    numbers: dict[str, int]
    length: int
    lower_case: bool
    forward: bool
    embedding: bool

    @classmethod
    def of(cls, wanted: TextInput) -> Characters:
        """As the parameters say; a character that the alphabet repeats counts once."""
        numbers = {each: i for i, each in enumerate(dict.fromkeys(wanted.alphabet), start=1)}
        return cls(numbers, wanted.length, wanted.lower_case, wanted.read_forward, wanted.embedding)

    @property
    def dimensions(self) -> Dimensions:
        """Steps and ids of an embedding, or the columns of one-hot rows."""
        if self.embedding:
            return Dimensions(steps=self.length, vocabulary=len(self.numbers) + 1)
        return Dimensions(columns=self.length * len(self.numbers))

    def keep(self, text: str) -> dict[str, Array]:
        """Numbers of the characters, at most `length`."""
        part = text[: self.length] if self.forward else text[: -self.length - 1 : -1]
        # Small letters may be longer than their capitals, never shorter.
        part = (part.lower() if self.lower_case else part)[: self.length]
        return {IDS: np.array([self.numbers.get(each, 0) for each in part], np.int32)}

    def inputs(self, kept: Kept) -> dict[str, Array]:
        """Numbers, or one-hot vectors, with zeros behind a short text."""
        ids = kept[IDS]
        if self.embedding:
            padded = np.zeros(self.length, np.int64)
            padded[: len(ids)] = ids
            return {IDS: padded}
        row = np.zeros((self.length, len(self.numbers) + 1), np.float32)
        row[np.arange(len(ids)), ids] = 1.0
        return {ROW: np.ascontiguousarray(row[:, 1:]).reshape(-1)}
