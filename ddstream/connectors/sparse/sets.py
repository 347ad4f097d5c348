"""Data sets of sparse rows, which stay sparse until a batch is made of them (contract 3.7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.svm import SvmInput
from ddstream.connectors.locate import files_below, locate
from ddstream.connectors.sparse.encoding import Features, Sparse, SvmSchema, expected, learned
from ddstream.connectors.sparse.lines import Line, of_file
from ddstream.connectors.storage.store import Wish, stored
from ddstream.connectors.storage.streams import Vary, varied
from ddstream.connectors.tables.gathered import Gathered
from ddstream.connectors.tables.matrices import (
    CHUNK,
    ROW,
    Content,
    check_split,
    held_out,
    split_seed,
)
from ddstream.data import Datasets, Dimensions, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.roots import Roots


@dataclass(frozen=True, slots=True)
class Order:
    """What data sets are made by; `kept` is the schema of a training that goes on."""

    wanted: SvmInput
    mllib: Mapping[str, Any]
    repository: Repository
    roots: Roots
    kept: SvmSchema | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a file, or of all files below a folder."""

    name: str
    files: Sequence[Path]
    roots: Roots

    @classmethod
    def at(cls, path: Path, roots: Roots) -> Lines:
        """Those of a path. Raises InputError if there is nothing."""
        real = locate(path, ["."], roots)
        if real is None:
            raise InputError(f"file {str(path)[:200]} does not exist")
        return cls(path.name, list(files_below(real)) if real.is_dir() else [real], roots)

    def pieces(self) -> Iterator[tuple[str, list[Line]]]:
        """Some lines of a file and its name, after each other."""
        for file in self.files:
            with of_file(file, str(file), self.roots) as lines:
                while piece := list(islice(lines, CHUNK)):
                    yield str(file), piece


def svm_datasets(order: Order, data: Sequence[Path]) -> Datasets:
    """The training file `data[0]` and the test sets: the others, or a part of the first.

    Raises InputError for data that cannot be used, ParameterError without a training or test row.
    """
    wanted = order.wanted
    if not data:
        raise InputError("missing data")
    told = ("nclasses", "ntargets", "multi_label")
    wish = Wish(
        repository=order.repository,
        data=data,
        roots=order.roots,
        made_by={"connector": "svm", **{name: order.mllib.get(name) or 0 for name in told}},
        test_split=wanted.test_split,
        seed=wanted.seed,
    )
    if wanted.db or wish.named:
        kept = stored(wish, lambda: _Gathered(order, data).streams())
        found = varied(kept, _filled(SvmSchema.read(kept.files).features))
    else:
        found = _Gathered(order, data).in_memory()
    return replace(found, shuffle=wanted.shuffle, seed=wanted.seed)


class _Gathered(Gathered[Lines]):
    """The lines of a train request, looked through once."""

    def __init__(self, order: Order, data: Sequence[Path]) -> None:
        wanted = order.wanted
        check_split(wanted, len(data) - 1)
        train, *tests = (Lines.at(path, order.roots) for path in data)
        schema, count = _learned(train, order)
        if not count:
            raise ParameterError("No data found in training dataset")
        seed = split_seed(wanted, order.kept.split_seed if order.kept else None)
        super().__init__(train, tests, held_out(count, wanted, seed))
        self._schema = replace(schema, split_seed=seed)

    def about(self) -> dict[str, Any]:
        """See Gathered."""
        schema = self._schema
        return {
            "classes": schema.labels.classes,
            "learned": {"connector": "svm"},
            "dimensions": dimensions(schema),
            "files": schema.files(),
        }

    def content(self, files: Lines) -> Content:
        """See Gathered; the rows stay sparse."""
        features = self._schema.features
        parts, targets = [], []
        for uri, piece in files.pieces():
            parts += [features.keep(line) for line in piece]
            targets.append(self._schema.targets(piece, uri))
        whole = [each for each in targets if each is not None]
        return Content(
            Sparse.of(parts, len(features.ids)), np.concatenate(whole) if whole else None
        )

    def samples(self, files: Lines) -> Iterator[Sample]:
        """See Gathered; the rows stay sparse."""
        place = 0
        for uri, piece in files.pieces():
            yield from samples(piece, self._schema, uri, place, labelled=True)
            place += len(piece)


def samples(
    lines: Sequence[Line], schema: SvmSchema, uri: str, before: int, *, labelled: bool
) -> Iterator[Sample]:
    """Sparse samples of lines, named by their numbers behind `before`; with targets if asked."""
    targets = schema.targets(lines, uri) if labelled else None
    for number, line in enumerate(lines):
        kept = schema.features.keep(line)
        target = None if targets is None else targets[number]
        if target is not None and target.ndim == 0:
            target = int(target)
        yield Sample(str(before + number + 1), kept, target)


def dimensions(schema: SvmSchema) -> Dimensions:
    """The columns of a row, and how much is told of it."""
    return Dimensions(outputs=schema.labels.count, columns=len(schema.features.ids))


def _learned(lines: Lines, order: Order) -> tuple[SvmSchema, int]:
    """What the training's lines tell, and how many there are."""
    labels = order.kept.labels if order.kept else expected(order.mllib)
    ids: set[int] = set()
    values: dict[str, None] = {}
    count = 0
    for _, piece in lines.pieces():
        count += len(piece)
        ids.update(_ids(piece))
        if labels.goal == "ids":
            values.update(dict.fromkeys(line.label for line in piece if line.label))
    if order.kept is not None:
        return order.kept, count
    if count and not ids:
        raise InputError(f"{lines.name[:200]} has no feature")
    return SvmSchema(Features(sorted(ids)), learned(labels, values)), count


def _ids(lines: Iterable[Line]) -> Iterator[int]:
    for line in lines:
        yield from line.ids


def _filled(features: Features) -> Vary:
    def fill(sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
        return replace(sample, inputs={ROW: features.row(sample.inputs)})

    return fill
