"""Data sets of series: folders of tables become windows with their targets (contract 3.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ddstream.api.csvts import NO_STEPS, SeriesInput
from ddstream.connectors.cells import Dialect
from ddstream.connectors.locate import files_below, locate
from ddstream.connectors.protocol import NO_TESTS
from ddstream.connectors.series.bounds import Bounds, Survey, unscaled
from ddstream.connectors.series.columns import Columns
from ddstream.connectors.series.kept import Kept, kept_files, kept_parameters
from ddstream.connectors.series.windows import Cutting, dimensions
from ddstream.connectors.storage.store import Wish, stored
from ddstream.connectors.storage.streams import Stream, Streams, staying
from ddstream.data import Array, Datasets, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.roots import Roots

_NONE: Final = np.empty((0, 2), np.int64)
_MOST: Final = 3
"""Most files that a warning names."""
_NOT_A_FOLDER: Final = "is a CSV file, but CSVTS connector only supports directory during training."


@dataclass(frozen=True, slots=True)
class Order:
    """What data sets of series are made by; `kept` counts where a training goes on."""

    wanted: SeriesInput
    repository: Repository
    roots: Roots
    kept: Kept

    @property
    def dialect(self) -> Dialect:
        """How tables are written."""
        return Dialect(self.wanted.separator, self.wanted.quote)


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """The tables of a folder, a file a series, and the windows that are taken from them.

    `places` (N x 2) are the number of the file of each window, and the step where it begins.
    """

    name: str
    files: Sequence[Path]
    places: Array


@dataclass(frozen=True, slots=True)
class SeriesSet:
    """Windows of scaled series that are held in memory."""

    folder: Folder
    series: Mapping[Path, Array]
    cutting: Cutting

    @property
    def name(self) -> str:
        """The name of the folder, or `split`."""
        return self.folder.name

    def __len__(self) -> int:
        return len(self.folder.places)

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Window `index`; windows are not varied."""
        number, start = self.folder.places[index].tolist()
        file = self.folder.files[number]
        return self.cutting.labelled(self.series[file], start, str(file))


def series_datasets(order: Order, data: Sequence[Path]) -> Datasets:
    """The windows of the training folder `data[0]`, and those of the test folders or of a part.

    Raises InputError for data that cannot be used, ParameterError without any window.
    """
    wanted = order.wanted
    if wanted.window < 0:
        raise InputError(NO_STEPS)
    if not data:
        raise InputError("missing data")
    wish = Wish(
        repository=order.repository,
        data=data,
        roots=order.roots,
        made_by={"connector": "csvts", **kept_parameters(wanted), **_given(wanted)},
        test_split=wanted.test_split,
        seed=wanted.seed,
    )
    if wanted.db or wish.named:
        found = stored(wish, lambda: _Gathering(order, data).streams())
    else:
        found = _Gathering(order, data, hold=True).in_memory()
    return replace(found, shuffle=wanted.shuffle, seed=wanted.seed)


def _given(wanted: SeriesInput) -> dict[str, Any]:
    bounds = Bounds.given(wanted)
    return bounds.learned() if bounds else {}


class _Gathering:
    """Looks through all tables once, for their columns, lengths and bounds.

    With `hold` their numbers stay in memory, else they are read again when they are needed.
    """

    def __init__(self, order: Order, data: Sequence[Path], *, hold: bool = False) -> None:
        self._order = order
        self._warnings: list[str] = []
        self._held: dict[Path, Array] = {}
        folders = [self._folder(path) for path in data]
        wanted = order.wanted
        order.kept.check_label(wanted)
        if wanted.test_split and folders[1:]:
            split = f"{wanted.test_split:g}"
            raise InputError(f"User specified both a test split {split} and a test set")
        self._columns = self._first_columns(folders[0].files[0])
        survey, steps = Survey(), {}
        for file in {file: None for folder in folders for file in folder.files}:
            table = self._read(file)
            survey.add(table)
            steps[file] = len(table)
            if hold:
                self._held[file] = table
        self._bounds = self._chosen(survey)
        units = self._bounds.units() if self._bounds else unscaled(len(self._columns.used))
        self._cutting = Cutting(self._columns, units, wanted)
        placed = [self._placed(folder, steps) for folder in folders]
        self._train, *self._tests = self._split(placed)
        if not len(self._train.places):
            least = wanted.window + (wanted.horizon if wanted.forecast else 0)
            found = f"no series has {least} steps"
            raise ParameterError(f"No data found in training dataset: {found}")
        if not self._tests or not all(len(each.places) for each in self._tests):
            raise ParameterError(NO_TESTS)

    def streams(self) -> Streams:
        """The windows, read file by file."""
        train, *tests = (Stream(each.name, self._samples(each)) for each in self._folders)
        return Streams(train=train, tests=tests, **self._about())

    def in_memory(self) -> Datasets:
        """The windows of series that are held."""
        units = self._cutting.units
        # One by one, so that no two forms of all series are there at a time.
        series = {file: units.scaled(self._held.pop(file)) for file in list(self._held)}
        train, *tests = (SeriesSet(each, series, self._cutting) for each in self._folders)
        return Datasets(train=train, tests=tests, **self._about())

    @property
    def _folders(self) -> list[Folder]:
        return [self._train, *self._tests]

    def _about(self) -> dict[str, Any]:
        bounds = self._bounds
        return {
            "learned": {"connector": "csvts", **(bounds.learned() if bounds else {})},
            "warnings": self._warnings,
            "dimensions": dimensions(self._columns, self._order.wanted),
            "files": kept_files(self._columns, self._order.wanted, bounds),
        }

    def _folder(self, path: Path) -> Folder:
        real = locate(path, ["."], self._order.roots)
        if real is None:
            raise InputError(f"folder of series {str(path)[:200]} does not exist")
        if not real.is_dir():
            raise InputError(f"uri {str(path)[:200]} {_NOT_A_FOLDER}")
        inside = list(files_below(real))
        files = [file for file in inside if file.suffix.lower() == ".csv"]
        if not files:
            raise InputError(f"{str(path)[:200]} has no CSV file")
        if len(files) < len(inside):
            others = len(inside) - len(files)
            self._warnings.append(f"{path}: {others} files are not .csv and were left out")
        return Folder(path.name, files, _NONE)

    def _first_columns(self, file: Path) -> Columns:
        if self._order.kept.header:
            return Columns.of(self._order.kept.header, self._order.wanted, "the repository")
        with self._order.dialect.of_file(file, str(file), self._order.roots) as rows:
            first = next(rows, None)
        if first is None:
            raise InputError(f"{file} has no header")
        return Columns.of(first.cells, self._order.wanted, str(file))

    def _read(self, file: Path) -> Array:
        with self._order.dialect.of_file(file, str(file), self._order.roots) as rows:
            return self._columns.table(rows, str(file))

    def _chosen(self, survey: Survey) -> Bounds | None:
        """The bounds: given ones, those of the training that goes on, else what was found."""
        wanted, labels = self._order.wanted, self._columns.labels
        if not wanted.scales:
            return None
        known = Bounds.given(wanted) or self._order.kept.bounds
        if known is None:
            return survey.bounds(wanted.kind, labels)
        known.check(len(self._columns.used))
        return replace(known, labels=labels)

    def _placed(self, folder: Folder, steps: Mapping[Path, int]) -> Folder:
        parts, short = [_NONE], []
        for number, file in enumerate(folder.files):
            begins = self._cutting.labelled_starts(steps[file])
            parts.append(np.array([(number, start) for start in begins], np.int64).reshape(-1, 2))
            if not begins:
                short.append(file.name)
        if short:
            some = ", ".join(short[:_MOST]) + (", ..." if len(short) > _MOST else "")
            self._warnings.append(
                f"{folder.name}: {len(short)} series have fewer than {self._cutting.length} steps "
                f"and were left out: {some}"
            )
        return replace(folder, places=np.concatenate(parts))

    def _split(self, folders: list[Folder]) -> list[Folder]:
        """With a test split, the end of the training windows is held out, shuffled if asked for."""
        wanted, train = self._order.wanted, folders[0]
        if not wanted.test_split:
            return folders
        number = len(train.places)
        order = np.arange(number)
        if wanted.shuffle:
            rng = np.random.default_rng(wanted.seed if wanted.seed >= 0 else None)
            order = rng.permutation(number)
        kept = staying(number, wanted.test_split)
        stay, leave = (train.places[np.sort(each)] for each in (order[:kept], order[kept:]))
        return [replace(train, places=stay), replace(train, name="split", places=leave)]

    def _samples(self, folder: Folder) -> Iterator[Sample]:
        for number, file in enumerate(folder.files):
            begins = folder.places[folder.places[:, 0] == number, 1].tolist()
            if not begins:
                continue
            series = self._cutting.units.scaled(self._read(file))
            for start in begins:
                yield self._cutting.labelled(series, start, str(file))
