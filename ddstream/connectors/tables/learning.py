"""Learning a schema: what the training's tables tell of their columns, in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddstream.api.csv import CsvInput
from ddstream.connectors.cells import Row, check_width, no_column
from ddstream.connectors.tables.encoding import figures, picked
from ddstream.connectors.tables.files import Tables
from ddstream.connectors.tables.labels import TableLabels, word
from ddstream.connectors.tables.scaling import Measuring, Scaling
from ddstream.connectors.tables.schema import Layout, Schema
from ddstream.errors import InputError


@dataclass(frozen=True, slots=True)
class Learned:
    """A schema, how many rows there are, and what is to be said."""

    schema: Schema
    rows: int
    warnings: Sequence[str] = ()


def learn(
    tables: Tables, wanted: CsvInput, mllib: Mapping[str, Any], known: Schema | None = None
) -> Learned:
    """What is to be known of the training's tables; `known` is kept from before.

    Raises InputError for tables or columns that cannot be used.
    """
    learning: _Learning | None = None
    count = 0
    for piece in tables.pieces():
        if learning is None:
            schema = known or _begun(piece.header, wanted, mllib, piece.uri)
            learning = _Learning(schema, wanted, known is not None)
        layout = schema.layout(piece.header, piece.uri, wanted.ignore)
        learning.add(piece.rows, layout, piece.uri)
        count += len(piece.rows)
    assert learning is not None
    warnings = _warnings(learning.schema, wanted)
    if known is not None:
        _check_same(known, wanted)
        return Learned(known.under(wanted), count, warnings)
    found = learning.learned(count)
    if any(found.labels.offsets) and found.labels.goal == "names":
        warnings.append("parameters.input.label_offset has no effect: the labels are names")
    return Learned(found, count, warnings)


def _begun(header: Sequence[str], wanted: CsvInput, mllib: Mapping[str, Any], uri: str) -> Schema:
    schema = Schema.of(header, wanted, uri)
    if wanted.autoencoder:
        return schema
    if both := [name for name in wanted.label if name in wanted.ignore]:
        raise InputError(f"parameters.input.ignore: {both[0][:80]} is the label")
    return replace(schema, labels=TableLabels.of(wanted.label, wanted.label_offset, mllib))


def _check_same(known: Schema, wanted: CsvInput) -> None:
    """Raises InputError where a training that goes on is asked to tell or read other columns."""
    told = known.labels.columns
    if not wanted.autoencoder and wanted.label != told:
        had = ", ".join(told) or "none"
        raise InputError(f"parameters.input.label: the training that goes on has {had[:80]}")
    if other := [name for name in wanted.words if name not in known.words]:
        said = "was no column of words in the training that goes on"
        raise InputError(f"parameters.input.categoricals: {other[0][:80]} {said}")


def _warnings(schema: Schema, wanted: CsvInput) -> list[str]:
    return [
        f"parameters.input.ignore: there is no column {name[:80]}"
        for name in wanted.ignore
        if name not in schema.header
    ]


class _Learning:
    """Words of categorical columns, values of the labels, bounds of numbers."""

    def __init__(self, schema: Schema, wanted: CsvInput, known: bool) -> None:
        self.schema = schema
        self._given = Scaling.given(wanted)
        self._idle = known
        mapped = schema.words
        self._words = {
            name: Counter(dict.fromkeys(map(word, mapped.get(name, ())), 0))
            for name in schema.columns
            if name in wanted.words
        }
        self._plain = [name for name in schema.columns if name not in self._words]
        self._values: dict[str, None] = {}
        scales = wanted.scale and self._given is None
        self._measuring = Measuring(wanted.kind) if scales else None

    def add(self, rows: Sequence[Row], layout: Layout, uri: str) -> None:
        """Take in rows."""
        if self._idle:
            return
        for row in rows:
            check_width(row, layout.names, uri)
        places = dict(zip(self.schema.columns, layout.inputs, strict=True))
        for name, words in self._words.items():
            words.update(_filled(rows, places[name], name, uri))
        labels = self.schema.labels
        if labels.columns and not layout.labels:
            raise no_column("label", _missing(labels.columns, layout.names), layout.names, uri)
        if labels.goal == "ids":
            found = _filled(rows, layout.labels[0], labels.columns[0], uri)
            self._values.update(dict.fromkeys(found))
        if self._measuring is not None and self._plain:
            plain = picked(rows, [places[name] for name in self._plain])
            self._measuring.add(figures(plain, self._plain, uri))

    def learned(self, count: int) -> Schema:
        """The schema with what was found."""
        schema = self.schema
        labels = schema.labels.learned(self._values)
        words = {
            name: schema.words.get(name) or {each: at for at, each in enumerate(found)}
            for name, found in self._words.items()
        }
        found = replace(schema, words=words, labels=labels)
        scaling = self._given
        if self._measuring is not None and count:
            columns = [self._counted(name, words) for name in schema.columns]
            scaling = self._measuring.scaling(columns, count)
        if scaling is not None:
            scaling.check(len(found.expanded))
        return replace(found, scaling=scaling)

    def _counted(self, name: str, words: Mapping[str, Mapping[str, int]]) -> Counter[str] | None:
        """How often each word of a column is there, in the order of their places."""
        if name not in self._words:
            return None
        places = words[name]
        ordered = sorted(places, key=places.__getitem__)
        return Counter({each: self._words[name][word(each)] for each in ordered})


def _missing(columns: Sequence[str], names: Sequence[str]) -> str:
    return next(name for name in columns if name not in names)


def _filled(rows: Sequence[Row], cell: int, column: str, uri: str) -> Iterator[str]:
    """The words of a column. Raises InputError for an empty cell."""
    for row in rows:
        if not (found := word(row.cells[cell])):
            raise InputError(f"line {row.line} of {uri[:200]}, column {column[:80]}: empty cell")
        yield found
