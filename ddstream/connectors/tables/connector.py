"""The connector of tables: a row of a file, or a line of text, becomes a row of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.csv import CsvInput
from ddstream.connectors.cells import Dialect, Row, no_column, number
from ddstream.connectors.locate import files_below
from ddstream.connectors.protocol import Limits
from ddstream.connectors.tables.encoding import Encoder, ids
from ddstream.connectors.tables.kept import Kept
from ddstream.connectors.tables.labels import TableLabels
from ddstream.connectors.tables.matrices import Encoded
from ddstream.connectors.tables.schema import Layout, Schema
from ddstream.connectors.tables.sets import Order, csv_datasets
from ddstream.data import UNSIZED, Datasets, Datum, Dimensions, Sample
from ddstream.errors import InputError
from ddstream.repository import Repository

_UNLIMITED = Limits()
UNTRAINED = "nothing is known of the columns before the first training"
_CHUNK = 64
"""Rows that are read of a file before the first of them is predicted."""


class CsvConnector:
    """Reads tables with fixed parameters, and with what a training has left in the repository.

    Parameters that rows depend on are, where the request does not name them, those of that
    training.
    """

    def __init__(
        self, raw: Mapping[str, Any], repository: Repository, limits: Limits = _UNLIMITED
    ) -> None:
        self._asked = CsvInput.parse(raw, "parameters.input", InputError)
        self._repository = repository
        self._limits = limits
        self._kept = Kept.of(repository)
        self._parameters = self._kept.under(raw, self._asked)

    @property
    def parameters(self) -> CsvInput:
        """The typed `parameters.input`, those of the last training included."""
        return self._parameters

    def describe(self) -> Mapping[str, Any]:
        """The numbers of a row as its width, once they are known."""
        columns = self.dimensions().columns
        return {"width": columns, "height": 1} if columns else {}

    def dimensions(self) -> Dimensions:
        """Columns of a row, as a training has found them."""
        return self._kept.schema.dimensions if self._kept.schema else UNSIZED

    def read(self, datum: Datum) -> Iterable[Sample]:
        """The rows of a table, or of lines. Raises InputError with the uri."""
        return self.gather([datum], None)

    def labelled(self, datum: Datum, mllib: Mapping[str, Any]) -> Iterable[Sample]:
        """The rows of a table with their targets. Raises InputError if it has no labels."""
        return self.gather([datum], mllib)

    def gather(self, data: Sequence[Datum], mllib: Mapping[str, Any] | None) -> Iterator[Sample]:
        """The rows of all data of a call: a header is that of what follows it, too.

        A row is named by its id, else by its number in the call; one that came alone as bytes
        keeps the name that it came with.
        """
        reading = _Reading(self._parameters, self._asked, self._kept, mllib)
        try:
            for datum in data:
                yield from self._samples(datum, reading)
        except InputError as error:
            if self._kept.schema is not None:
                raise
            raise InputError(f"{error.detail} ({UNTRAINED})") from error

    def datasets(self, data: Sequence[Path], augment: Mapping[str, Any]) -> Datasets:
        """Training and test sets, as `ddstream.connectors.tables.sets` says."""
        resumed = augment.get("resume") is True
        order = Order(
            wanted=self._parameters if resumed else self._asked,
            mllib=augment,
            repository=self._repository,
            roots=self._limits.roots,
            kept=self._kept if resumed else Kept(),
        )
        return csv_datasets(order, data)

    def _samples(self, datum: Datum, reading: _Reading) -> Iterator[Sample]:
        content = datum.content
        dialect = Dialect(self._parameters.separator, self._parameters.quote)
        if isinstance(content, np.ndarray):
            raise InputError(f"{datum.uri[:200]} is an array, not lines of a table")
        if isinstance(content, str):
            yield from reading.lines(dialect.of_text(content, datum.uri), datum.uri, "")
        elif isinstance(content, bytes):
            name = "" if datum.uri.isdigit() else datum.uri
            yield from reading.lines(dialect.of_bytes(content, datum.uri), datum.uri, name)
        else:
            for file in files_below(content) if content.is_dir() else (content,):
                uri = str(file) if content.is_dir() else datum.uri
                with dialect.of_file(file, uri, self._limits.roots) as rows:
                    yield from reading.table(rows, uri)


class _Reading:
    """Reads the data of one call, one after the other."""

    def __init__(
        self, wanted: CsvInput, asked: CsvInput, kept: Kept, mllib: Mapping[str, Any] | None
    ) -> None:
        self._wanted = wanted
        self._asked = asked
        self._mllib = mllib
        self._encoder = None if kept.schema is None else Encoder(kept.schema.under(wanted))
        self._header: Sequence[str] | None = None
        self._number = 0

    def table(self, rows: Iterator[Row], uri: str) -> Iterator[Sample]:
        """The rows of a file, whose first one is its header."""
        first = next(rows, None)
        if first is None:
            raise InputError(f"{uri[:200]} is empty: a header is expected")
        encoder = self._known(first.cells, uri)
        layout = self._headed(encoder.schema, first.cells, uri)
        yield from self._encoded(encoder, rows, layout, uri)

    def lines(self, rows: Iterator[Row], uri: str, name: str) -> Iterator[Sample]:
        """Lines that came by themselves; the first one may be a header."""
        start = list(islice(rows, 2))
        if not start:
            raise InputError(f"{uri[:200]} holds no row")
        if self._heads(start[0].cells):
            self._header = start.pop(0).cells
            name = ""
        if not start:
            return
        encoder = self._known(self._header or [str(i) for i in range(len(start[0].cells))], uri)
        layout = self._layout(encoder.schema, start, uri)
        alone = len(start) == 1
        every = self._encoded(encoder, chain(start, rows), layout, uri)
        for place, sample in enumerate(every, start=1):
            if name and layout.id < 0:
                sample = replace(sample, uri=name if alone else f"{name} #{place}")
            yield sample

    def _heads(self, cells: Sequence[str]) -> bool:
        """The first line is a header: it has the columns' names, or must have them."""
        if self._encoder is not None:
            return self._encoder.schema.is_header(cells)
        if self._header is not None:
            return False
        wanted, names = self._wanted, {cell.strip() for cell in cells}
        asked = {*wanted.words, *wanted.ignore, *wanted.label, wanted.id}
        return bool(asked & names) or all(number(cell) is None for cell in cells)

    def _known(self, header: Sequence[str], uri: str) -> Encoder:
        """The encoder of the training; without one, that of the first table of the call."""
        if self._encoder is None:
            schema = Schema.of(header, self._wanted, uri)
            if self._mllib is not None and not self._wanted.autoencoder:
                wanted = self._wanted
                labels = TableLabels.of(wanted.label, wanted.label_offset, self._mllib)
                schema = replace(schema, labels=labels)
            self._encoder = Encoder(schema.under(self._wanted))
        return self._encoder

    def _layout(self, schema: Schema, start: Sequence[Row], uri: str) -> Layout:
        if self._header is not None:
            return self._headed(schema, self._header, uri)
        first = start[0]
        lone = len(start) == 1 and len(first.cells) == 1 < len(schema.columns)
        if lone and number(first.cells[0]) is None:
            raise InputError(f"{first.cells[0][:80]!r} is neither a file nor a row of the table")
        return schema.unnamed(len(first.cells), f"line {first.line} of {uri}")

    def _headed(self, schema: Schema, header: Sequence[str], uri: str) -> Layout:
        layout = schema.layout(header, uri, self._wanted.ignore)
        if self._asked.id and layout.id < 0:
            raise no_column("id", self._asked.id, header, uri)
        return layout

    def _encoded(
        self, encoder: Encoder, rows: Iterator[Row], layout: Layout, uri: str
    ) -> Iterator[Sample]:
        while chunk := list(islice(rows, _CHUNK)):
            numbers = range(self._number + 1, self._number + len(chunk) + 1)
            self._number += len(chunk)
            yield from Encoded(
                encoder.rows(chunk, layout, uri),
                None if self._mllib is None else encoder.targets(chunk, layout, uri),
                ids(chunk, layout) if layout.id >= 0 else [str(each) for each in numbers],
            ).samples()
