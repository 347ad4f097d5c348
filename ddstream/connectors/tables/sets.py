"""Data sets of tables: files become matrices in memory, or rows on disk (contract 3.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.csv import CsvInput
from ddstream.connectors.cells import Dialect, no_column
from ddstream.connectors.storage.store import Wish, stored
from ddstream.connectors.tables.encoding import Encoder, ids
from ddstream.connectors.tables.files import Tables
from ddstream.connectors.tables.gathered import Gathered
from ddstream.connectors.tables.kept import KEPT, Kept, shaping
from ddstream.connectors.tables.learning import Learned, learn
from ddstream.connectors.tables.matrices import (
    Content,
    Dense,
    Encoded,
    check_split,
    held_out,
    split_seed,
)
from ddstream.data import Datasets, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.roots import Roots


@dataclass(frozen=True, slots=True)
class Order:
    """What data sets of tables are made by; `kept` counts where a training goes on."""

    wanted: CsvInput
    mllib: Mapping[str, Any]
    repository: Repository
    roots: Roots
    kept: Kept = field(default_factory=Kept)

    @property
    def dialect(self) -> Dialect:
        """How tables are written."""
        return Dialect(self.wanted.separator, self.wanted.quote)


def csv_datasets(order: Order, data: Sequence[Path]) -> Datasets:
    """The training table `data[0]` and the test sets: the others, or a part of the first.

    Raises InputError for data that cannot be used, ParameterError without a training or test row.
    """
    wanted = order.wanted
    if not data:
        raise InputError("missing data")
    wish = Wish(
        repository=order.repository,
        data=data,
        roots=order.roots,
        made_by=_made_by(order),
        test_split=wanted.test_split,
        seed=wanted.seed,
    )
    if wanted.db or wish.named:
        found = stored(wish, lambda: _Gathered(order, data).streams())
    else:
        found = _Gathered(order, data).in_memory()
    return replace(found, shuffle=wanted.shuffle, seed=wanted.seed)


def _made_by(order: Order) -> dict[str, Any]:
    """All that kept rows depend on."""
    wanted, told = order.wanted, ("nclasses", "ntargets", "multi_label")
    values = {
        name: getattr(wanted, name)
        for name in ("min_vals", "max_vals", "mean_vals", "variance_vals", "categoricals_mapping")
    }
    labels = {name: order.mllib.get(name) or 0 for name in told}
    return {"connector": "csv", **shaping(wanted), **values, **labels}


class _Gathered(Gathered[Tables]):
    """The tables of a train request, looked through once."""

    def __init__(self, order: Order, data: Sequence[Path]) -> None:
        wanted = order.wanted
        check_split(wanted, len(data) - 1)
        train, *tests = (Tables.at(path, order.dialect, order.roots) for path in data)
        self._learned: Learned = learn(train, wanted, order.mllib, order.kept.schema)
        if not self._learned.rows:
            raise ParameterError("No data found in training dataset")
        seed = split_seed(wanted, order.kept.split_seed)
        super().__init__(train, tests, held_out(self._learned.rows, wanted, seed))
        self._encoder = Encoder(self._learned.schema)
        self._extra = wanted.ignore
        self._kept = Kept(self._learned.schema, shaping(wanted), seed)

    def about(self) -> dict[str, Any]:
        """See Gathered."""
        schema = self._learned.schema
        return {
            "classes": schema.labels.classes,
            "learned": schema.learned(),
            "warnings": self._learned.warnings,
            "dimensions": schema.dimensions,
            "files": {KEPT: self._kept.file()},
        }

    def content(self, files: Tables) -> Content:
        """See Gathered."""
        found = list(self._encoded(files))
        targets = [each.targets for each in found if each.targets is not None]
        named = self._learned.schema.id
        return Content(
            Dense(np.concatenate([each.rows for each in found])),
            np.concatenate(targets) if targets else None,
            [uri for each in found for uri in each.uris] if named else (),
        )

    def samples(self, files: Tables) -> Iterator[Sample]:
        """See Gathered."""
        for each in self._encoded(files):
            yield from each.samples()

    def _encoded(self, tables: Tables) -> Iterator[Encoded]:
        """All rows; without an id they are named by their numbers, from 1 on."""
        encoder, number = self._encoder, 0
        for uri, header, rows in tables.pieces():
            layout = encoder.schema.layout(header, uri, self._extra)
            if encoder.schema.id and layout.id < 0:
                raise no_column("id", encoder.schema.id, header, uri)
            numbers = range(number + 1, number + len(rows) + 1)
            yield Encoded(
                encoder.rows(rows, layout, uri),
                encoder.targets(rows, layout, uri),
                ids(rows, layout) if layout.id >= 0 else [str(each) for each in numbers],
            )
            number += len(rows)
