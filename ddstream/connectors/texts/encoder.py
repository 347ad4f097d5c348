"""What an encoder is: a text becomes numbers that are kept, and these what a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from ddstream.data import Array, Dimensions

Kept: TypeAlias = Mapping[str, Array]
"""A text in numbers, as small as they come: without padding, without zeros."""


class Encoder(Protocol):
    """Encodes texts in one way, with what was learned from a training set. Safe for threads."""

    @property
    def dimensions(self) -> Dimensions:
        """What its samples are."""

    def keep(self, text: str) -> dict[str, Array]:
        """A text in numbers, to be kept in memory or on disk."""

    def inputs(self, kept: Kept) -> dict[str, Array]:
        """What a model takes, of one size for all texts."""
