"""The rows of a train request, in memory or as streams: what data sets of rows have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ddstream.connectors.protocol import NO_TESTS
from ddstream.connectors.storage.streams import Stream, Streams
from ddstream.connectors.tables.matrices import Content, Table
from ddstream.data import Array, Datasets, Sample
from ddstream.errors import ParameterError


class Named(Protocol):
    """A file, or those of a folder."""

    @property
    def name(self) -> str:
        """What the set is called."""


Files = TypeVar("Files", bound=Named)


class Gathered(ABC, Generic[Files]):
    """The training's files and the tests'; `held_out` says which training rows test instead."""

    def __init__(self, train: Files, tests: Sequence[Files], held_out: Array | None) -> None:
        self._train = train
        self._tests = tests
        self._held_out = held_out

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What is told of the sets beside their rows, by the names of `Datasets`."""

    @abstractmethod
    def content(self, files: Files) -> Content:
        """All rows of some files, with their targets."""

    @abstractmethod
    def samples(self, files: Files) -> Iterator[Sample]:
        """The same row by row, as the store keeps them."""

    def streams(self) -> Streams:
        """The sets, read file by file."""
        out = self._held_out
        train = self._chosen(None if out is None else ~out)
        tests = [Stream(each.name, self.samples(each)) for each in self._tests]
        if out is not None:
            tests = [Stream("split", self._chosen(out))]
        return Streams(train=Stream(self._train.name, train), tests=tests, **self.about())

    def in_memory(self) -> Datasets:
        """The sets as matrices; a split is of one."""
        out, content = self._held_out, self.content(self._train)
        every = np.arange(len(content.rows))
        if out is not None:
            train = Table(self._train.name, content, every[~out])
            tests = [Table("split", content, every[out])]
        else:
            train = Table(self._train.name, content, every)
            tests = [self._table(each) for each in self._tests]
        return Datasets(train=train, tests=tests, **self.about())

    def _table(self, files: Files) -> Table:
        content = self.content(files)
        if not len(content.rows):
            raise ParameterError(NO_TESTS)
        return Table(files.name, content, np.arange(len(content.rows)))

    def _chosen(self, chosen: Array | None) -> Iterator[Sample]:
        for place, sample in enumerate(self.samples(self._train)):
            if chosen is None or chosen[place]:
                yield sample
