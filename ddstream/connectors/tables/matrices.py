"""Tables in memory: one matrix of all rows, of which batches are taken without copies a sample."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, overload

import numpy as np

from ddstream.api.tables import SplitInput
from ddstream.connectors.protocol import NO_TESTS
from ddstream.connectors.storage.streams import staying
from ddstream.data import Array, Sample, Stack
from ddstream.errors import InputError, ParameterError

ROW: Final = "row"
CHUNK: Final = 1024
"""Rows of a file that are text and numbers at the same time."""


class Rows(Protocol):
    """Rows of numbers, of which some can be taken as a matrix."""

    def __len__(self) -> int: ...

    def take(self, places: Array) -> Array:
        """Rows by their numbers, float32 N x F."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Rows as they are, float32 N x F."""

    values: Array

    def __len__(self) -> int:
        return len(self.values)

    def take(self, places: Array) -> Array:
        """Rows by their numbers."""
        return self.values[places]


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """All rows of a set. `targets` have a row each (see `Stack`), `ids` name them.

    Without ids their names are their numbers, from 1 on.
    """

    rows: Rows
    targets: Array | None = None
    ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Numbers(Sequence[str]):
    """Names of rows that have none: their numbers, from 1 on; each is made for who asks for it."""

    places: Array

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return Numbers(self.places[index])
        return str(self.places[index] + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The rows of a set that are in it, by their numbers in the content."""

    name: str
    content: Content
    places: Array

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Row `index` as it is."""
        return self.batch(np.array([index]))[0]

    def batch(self, indices: Array) -> Stack:
        """Rows of these numbers as one matrix."""
        content, places = self.content, self.places[indices]
        ids = content.ids
        return Stack(
            [ids[place] for place in places.tolist()] if ids else Numbers(places),
            {ROW: content.rows.take(places)},
            None if content.targets is None else content.targets[places],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Some rows of a file that were read."""

    rows: Array
    targets: Array | None
    uris: Sequence[str]

    def samples(self) -> Iterator[Sample]:
        """The rows one by one."""
        return iter(Stack(self.uris, {ROW: self.rows}, self.targets))


def held_out(count: int, wanted: SplitInput, seed: int) -> Array | None:
    """Which of so many rows are held out for testing, a bool each; None if none are to be.

    They are the last ones, of a shuffled order where that is asked for. Raises ParameterError if
    nothing stays.
    """
    if not wanted.test_split:
        return None
    stay = staying(count, wanted.test_split)
    if not stay:
        raise ParameterError("No data found in training dataset")
    if stay == count:
        raise ParameterError(NO_TESTS)
    mask = np.zeros(count, np.bool_)
    order = np.random.default_rng(seed).permutation(count) if wanted.shuffle else np.arange(count)
    mask[order[stay:]] = True
    return mask


def split_seed(wanted: SplitInput, kept: int | None) -> int:
    """The seed of a split: that of the request, of the training that goes on, else a new one."""
    if wanted.seed >= 0:
        return wanted.seed
    return secrets.randbits(32) if kept is None else kept


def check_split(wanted: SplitInput, tests: int) -> None:
    """Raises InputError for a split beside test sets, ParameterError without either."""
    if wanted.test_split and tests:
        split = f"{wanted.test_split:g}"
        raise InputError(f"User specified both a test split {split} and a test set")
    if not wanted.test_split and not tests:
        raise ParameterError(NO_TESTS)
