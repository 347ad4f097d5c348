"""Sparse rows in memory: features by the columns of a vocabulary, and targets of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import orjson

from ddstream.connectors.cells import Row, number
from ddstream.connectors.sparse.lines import Line
from ddstream.connectors.tables.labels import TableLabels
from ddstream.connectors.texts.vocabulary import VOCABULARY
from ddstream.data import Array
from ddstream.errors import InputError
from ddstream.repository import Repository

KEPT: Final = "svm.json"
PLACES, WEIGHTS = "places", "weights"


@dataclass(frozen=True, slots=True)
class Features:
    """Ids of features in ascending order: the columns of a row."""

    ids: Sequence[int]
    columns: Mapping[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {each: place for place, each in enumerate(self.ids)})

    @classmethod
    def parse(cls, content: bytes) -> Features:
        """Those of a `vocab.dat`, an id a line. Raises InputError for anything else."""
        try:
            found = [int(line) for line in content.split()]
        except ValueError as error:
            raise InputError(f"{VOCABULARY} of the repository has no ids of features") from error
        if len(set(found)) < len(found):
            raise InputError(f"{VOCABULARY} of the repository has an id twice")
        return cls(found)

    def file(self) -> bytes:
        """The content of `vocab.dat`."""
        return "".join(f"{each}\n" for each in self.ids).encode()

    def keep(self, line: Line) -> dict[str, Array]:
        """The columns of a line's known features, int32, and their values, float32."""
        known = [
            (place, value)
            for each, value in zip(line.ids, line.values, strict=True)
            if (place := self.columns.get(each)) is not None
        ]
        places = np.array([place for place, _ in known], np.int32)
        return {PLACES: places, WEIGHTS: np.array([value for _, value in known], np.float32)}

    def row(self, kept: Mapping[str, Array]) -> Array:
        """The row with a column for each feature, float32."""
        found = np.zeros(len(self.ids), np.float32)
        found[kept[PLACES]] = kept[WEIGHTS]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """Many rows: those of row i are from `starts[i]` up to `starts[i + 1]`."""

    starts: Array
    places: Array
    weights: Array
    columns: int

    @classmethod
    def of(cls, kept: Sequence[Mapping[str, Array]], columns: int) -> Sparse:
        """Rows of what `Features.keep` gave."""
        starts = np.zeros(len(kept) + 1, np.int64)
        np.cumsum([len(each[PLACES]) for each in kept], out=starts[1:])
        empty = {PLACES: np.empty(0, np.int32), WEIGHTS: np.empty(0, np.float32)}
        places, weights = (
            np.concatenate([empty[name], *(each[name] for each in kept)])
            for name in (PLACES, WEIGHTS)
        )
        return cls(starts, places, weights, columns)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, places: Array) -> Array:
        """Rows by their numbers, float32 N x columns."""
        begins, ends = self.starts[places], self.starts[places + 1]
        sizes = ends - begins
        rows = np.repeat(np.arange(len(places)), sizes)
        # The entries of all rows: counted from each row's first one.
        inside = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        entries = np.repeat(begins, sizes) + inside
        found = np.zeros((len(places), self.columns), np.float32)
        found[rows, self.places[entries]] = self.weights[entries]
        return found


@dataclass(frozen=True, slots=True)
class SvmSchema:
    """The features of a row, what its label is, and the seed of the training's split."""

    features: Features
    labels: TableLabels
    split_seed: int | None = None

    @classmethod
    def of(cls, repository: Repository) -> SvmSchema | None:
        """What lies in a repository. Raises InputError for damaged files."""
        try:
            files = {name: (repository.path / name).read_bytes() for name in (KEPT, VOCABULARY)}
        except OSError:
            return None
        return cls.read(files)

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> SvmSchema:
        """The inverse of `files`. Raises InputError for damaged ones."""
        try:
            raw = orjson.loads(files[KEPT])
            labels, seed = TableLabels.from_json(raw["labels"]), int(raw["split_seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{KEPT} of the repository is damaged: {error}") from error
        return cls(Features.parse(files[VOCABULARY]), labels, seed)

    def files(self) -> dict[str, bytes]:
        """For the repository."""
        content = {"labels": self.labels.to_json(), "split_seed": self.split_seed}
        kept = orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
        return {KEPT: kept, VOCABULARY: self.features.file()}

    def targets(self, lines: Sequence[Line], uri: str) -> Array | None:
        """Class ids N, or vectors N x T. Raises InputError for a line without such a label."""
        return self.labels.targets([_cells(line, self.labels, uri) for line in lines], uri)


def expected(mllib: Mapping[str, Any]) -> TableLabels:
    """The labels that a model with this raw `parameters.mllib` learns.

    A class is a number or a word; several classes, and several numbers of a regression, have
    commas between them.
    """
    several = mllib.get("multi_label") is True
    count = mllib.get("nclasses") if several else mllib.get("ntargets")
    told = several or not mllib.get("nclasses")
    if told and type(count) is int and count > 0:
        return TableLabels.of([str(number) for number in range(count)], (0,), mllib)
    return TableLabels.of(["label"], (0,), mllib)


def learned(labels: TableLabels, values: Iterable[str]) -> TableLabels:
    """The labels, now that all of the training's are known: +1 and -1 are names of classes."""
    found = list(values)
    if labels.goal == "ids" and any((number(each) or 0) < 0 for each in found):
        count = labels.count or len(found)
        if len(found) > count:
            raise InputError(f"there are {len(found)} classes, more than nclasses={count}")
        return replace(labels, goal="names", classes=tuple(found), count=count)
    return labels.learned(found)


def _cells(line: Line, labels: TableLabels, uri: str) -> Row:
    if not line.label:
        raise InputError(f"line {line.number} of {uri[:200]} has no label")
    if labels.goal in ("ids", "names"):
        return Row(line.number, [line.label])
    parts = line.label.split(",")
    if labels.goal == "several":
        if wrong := [each for each in parts if each not in labels.columns]:
            raise InputError(f"line {line.number} of {uri[:200]}: {wrong[0][:40]!r} is no class")
        return Row(line.number, ["1" if each in parts else "0" for each in labels.columns])
    if len(parts) != len(labels.columns):
        said = f"{len(parts)} targets, ntargets is {len(labels.columns)}"
        raise InputError(f"line {line.number} of {uri[:200]} has {said}")
    return Row(line.number, parts)
