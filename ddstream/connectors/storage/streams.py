"""Streams: data sets before they are kept, in memory or on disk, and what is read of kept ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ddstream.data import UNSIZED, Dataset, Datasets, Dimensions, Sample
from ddstream.errors import InputError

log = logging.getLogger(__name__)

T = TypeVar("T")

Vary: TypeAlias = Callable[[Sample, int, np.random.Generator | None], Sample]
"""What is made of a kept sample when it is read: its number, and chance in a training."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The samples of a set as they are to be kept, in their order; gone through once."""

    name: str
    samples: Iterable[Sample]


@dataclass(frozen=True, slots=True)
class Streams:
    """What a connector makes of a train request's `data`, not kept yet. See `Datasets`."""

    train: Stream
    tests: Sequence[Stream]
    classes: Sequence[str] = ()
    learned: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    dimensions: Dimensions = UNSIZED
    files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Datasets) -> Streams:
        """The samples of data sets, read in their order and without variation."""
        return cls(
            train=Stream(data.train.name, in_order(data.train)),
            tests=[Stream(each.name, in_order(each)) for each in data.tests],
            classes=data.classes,
            learned=data.learned,
            warnings=data.warnings,
            dimensions=data.dimensions,
            files=data.files,
        )

    def around(self, train: Dataset, tests: Sequence[Dataset]) -> Datasets:
        """The data sets, with these in the place of the streams."""
        return Datasets(
            train=train,
            tests=tests,
            classes=self.classes,
            learned=self.learned,
            warnings=self.warnings,
            dimensions=self.dimensions,
            files=self.files,
        )

    def in_memory(self) -> Datasets:
        """All samples as they are, held in memory."""
        held = [Held(each.name, list(each.samples)) for each in (self.train, *self.tests)]
        return self.around(held[0], held[1:])


@dataclass(frozen=True, slots=True)
class Held:
    """Samples in memory."""

    name: str
    samples: Sequence[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index` as it is."""
        return self.samples[index]


@dataclass(frozen=True, slots=True)
class Varied:
    """A data set whose samples are made of another's; each gives `copies`, one after the other."""

    kept: Dataset
    vary: Vary
    copies: int = 1

    @property
    def name(self) -> str:
        """That of the kept set."""
        return self.kept.name

    def __len__(self) -> int:
        return len(self.kept) * self.copies

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index`, varied where `rng` is given."""
        return self.vary(self.kept.read(index // self.copies, None), index, rng)


def in_order(data: Dataset) -> Iterator[Sample]:
    """The samples of a set, one after the other, as they are."""
    return read_each(data.name, lambda index: data.read(index, None), range(len(data)))


def read_each(
    name: str,
    read: Callable[[T], Sample],
    entries: Iterable[T],
    told: MutableSequence[str] | None = None,
) -> Iterator[Sample]:
    """What is read of each entry; one that cannot be read is left out and logged.

    At the end `told` gets how many, and why the first one.
    """
    missed, reason = 0, ""
    for entry in entries:
        try:
            yield read(entry)
        except InputError as error:
            missed, reason = missed + 1, reason or str(error)
            log.warning("%s: a sample was left out: %s", name, error)
    if missed and told is not None:
        told.append(f"{name}: {missed} samples were left out, the first: {reason}")


def varied(data: Datasets, vary: Vary) -> Datasets:
    """The same sets, whose samples are made of the kept ones."""
    tests = [Varied(each, vary) for each in data.tests]
    return replace(data, train=Varied(data.train, vary), tests=tests)


def staying(number: int, split: float) -> int:
    """How many of so many samples stay for training where a part is held out."""
    # 20 x (1 - 0.9) is a hair below 2.
    return math.floor(round(number * (1 - split), 6))
