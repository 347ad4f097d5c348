"""The connector of sparse rows: a line of features becomes a row of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.svm import SvmInput
from ddstream.connectors.locate import files_below
from ddstream.connectors.protocol import Limits
from ddstream.connectors.sparse.encoding import PLACES, SvmSchema
from ddstream.connectors.sparse.lines import Line, of_bytes, of_file, of_text
from ddstream.connectors.sparse.sets import Order, dimensions, samples, svm_datasets
from ddstream.connectors.tables.matrices import ROW
from ddstream.connectors.texts.vocabulary import VOCABULARY
from ddstream.data import UNSIZED, Array, Datasets, Datum, Dimensions, Sample
from ddstream.errors import InputError
from ddstream.repository import Repository

_UNLIMITED = Limits()
_CHUNK = 64
"""Lines that are read of a file before the first of them is predicted."""
NOTHING = "Issue while reading svm example (index might be out of bounds)"


class SvmConnector:
    """Reads sparse rows by the features that a training has left in the repository."""

    def __init__(
        self, raw: Mapping[str, Any], repository: Repository, limits: Limits = _UNLIMITED
    ) -> None:
        self._parameters = SvmInput.parse(raw, "parameters.input", InputError)
        self._repository = repository
        self._limits = limits
        self._schema = SvmSchema.of(repository)

    @property
    def parameters(self) -> SvmInput:
        """The typed `parameters.input`."""
        return self._parameters

    def describe(self) -> Mapping[str, Any]:
        """The features of a row as its width, once they are known."""
        columns = self.dimensions().columns
        return {"width": columns, "height": 1} if columns else {}

    def dimensions(self) -> Dimensions:
        """Columns of a row, as a training has found them."""
        return dimensions(self._schema) if self._schema else UNSIZED

    def read(self, datum: Datum) -> Iterable[Sample]:
        """The rows of a file, or of lines. Raises InputError with the uri."""
        return self.gather([datum], None)

    def labelled(self, datum: Datum, mllib: Mapping[str, Any]) -> Iterable[Sample]:
        """The rows with their targets. Raises InputError for lines without labels."""
        return self.gather([datum], mllib)

    def gather(self, data: Sequence[Datum], mllib: Mapping[str, Any] | None) -> Iterator[Sample]:
        """The rows of all data of a call, named by their numbers in it; one that came alone as
        bytes keeps the name that it came with."""
        if self._schema is None:
            raise InputError(f"the repository has no {VOCABULARY}: a training makes one")
        before = 0
        for datum in data:
            place = 0
            for lines, uri in self._pieces(datum):
                found = samples(lines, self._schema, uri, before, labelled=mllib is not None)
                for line, sample in zip(lines, found, strict=True):
                    place += 1
                    name = _name(datum, place, alone=len(lines) == 1) or sample.uri
                    yield replace(sample, uri=name, inputs=self._row(line, sample, uri))
                before += len(lines)

    def datasets(self, data: Sequence[Path], augment: Mapping[str, Any]) -> Datasets:
        """Training and test sets, as `ddstream.connectors.sparse.sets` says."""
        resumed = augment.get("resume") is True
        order = Order(
            wanted=self._parameters,
            mllib=augment,
            repository=self._repository,
            roots=self._limits.roots,
            kept=self._schema if resumed else None,
        )
        return svm_datasets(order, data)

    def _row(self, line: Line, sample: Sample, uri: str) -> dict[str, Array]:
        assert self._schema is not None
        if not len(sample.inputs[PLACES]):
            raise InputError(f"line {line.number} of {uri[:200]}: {NOTHING}")
        return {ROW: self._schema.features.row(sample.inputs)}

    def _pieces(self, datum: Datum) -> Iterator[tuple[list[Line], str]]:
        """The lines of a datum, a few at a time, and what they are from."""
        content, uri = datum.content, datum.uri
        if isinstance(content, np.ndarray):
            raise InputError(f"{uri[:200]} is an array, not lines of features")
        if isinstance(content, str):
            yield from _chunks(of_text(content, uri), uri)
        elif isinstance(content, bytes):
            yield from _chunks(of_bytes(content, uri), uri)
        else:
            for file in files_below(content) if content.is_dir() else (content,):
                name = str(file) if content.is_dir() else uri
                with of_file(file, name, self._limits.roots) as lines:
                    yield from _chunks(lines, name)


def _chunks(lines: Iterator[Line], uri: str) -> Iterator[tuple[list[Line], str]]:
    while chunk := list(islice(lines, _CHUNK)):
        yield chunk, uri


def _name(datum: Datum, place: int, *, alone: bool) -> str:
    """The name of a line that came as bytes with a name; else nothing."""
    if not isinstance(datum.content, bytes) or datum.uri.isdigit():
        return ""
    return datum.uri if alone and place == 1 else f"{datum.uri} #{place}"
