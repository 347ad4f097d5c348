"""The connector of time series: tables, a row a step, from files, folders and strings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count, groupby
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.csvts import NO_STEPS, SeriesInput
from ddstream.connectors.cells import Dialect, Row
from ddstream.connectors.locate import files_below
from ddstream.connectors.protocol import Limits
from ddstream.connectors.series.bounds import Bounds, Units, unscaled
from ddstream.connectors.series.columns import Columns
from ddstream.connectors.series.kept import Kept
from ddstream.connectors.series.sets import Order, series_datasets
from ddstream.connectors.series.windows import Cutting, dimensions
from ddstream.data import UNSIZED, Array, Datasets, Datum, Dimensions, Sample
from ddstream.errors import InputError
from ddstream.repository import Repository

log = logging.getLogger(__name__)

END_OF_SEQUENCE = "END_OF_SEQ"
"""Stands in a line of its own between two series of a string."""
_UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Found:
    """A series as it was found: its numbers (steps x columns), and where.

    `numbered` says that it is from a string of a request, whose samples are counted.
    """

    uri: str
    columns: Columns
    values: Array
    numbered: bool = False


class SeriesConnector:
    """Reads series with fixed parameters, and with what a training has left in the repository."""

    def __init__(
        self, raw: Mapping[str, Any], repository: Repository, limits: Limits = _UNLIMITED
    ) -> None:
        self._asked = SeriesInput.parse(raw, "parameters.input", InputError)
        self._repository = repository
        self._limits = limits
        self._kept = Kept.of(repository)
        self._parameters = self._kept.under(raw, self._asked)
        self._continued = count(1)

    @property
    def parameters(self) -> SeriesInput:
        """The typed `parameters.input`, those of the last training included."""
        return self._parameters

    def describe(self) -> Mapping[str, Any]:
        """The number of columns as its height; -1 before it is known."""
        known = self._known
        return {"width": 1, "height": len(known.used) if known else -1}

    def dimensions(self) -> Dimensions:
        """Columns and steps, once a training has made them known."""
        known = self._known
        return dimensions(known, self._parameters) if known else UNSIZED

    def read(self, datum: Datum) -> Iterable[Sample]:
        """The samples of one datum: the labels of each series, or forecasts after its windows."""
        return self.gather([datum], None)

    def labelled(self, datum: Datum, mllib: Mapping[str, Any]) -> Iterable[Sample]:
        """The windows of one datum as a test has them, with their targets."""
        return self.gather([datum], mllib)

    def gather(self, data: Sequence[Datum], mllib: Mapping[str, Any] | None) -> Iterable[Sample]:
        """The samples of a call; of more elements than one, the first may be the header.

        Samples of strings are named by their number, others by file and steps. Raises InputError
        for what is no series, or too short.
        """
        if self._parameters.window < 0:
            raise InputError(NO_STEPS)
        header, labelled = self._header(data), mllib is not None
        series = (
            found
            for place, datum in enumerate(data)
            if header is None or place > 0
            for found in self._series(
                datum, header, numbered=datum.uri == str(place), labelled=labelled
            )
        )
        return self._samples(series, labelled=labelled)

    def datasets(self, data: Sequence[Path], augment: Mapping[str, Any]) -> Datasets:
        """Training and test sets, as `ddstream.connectors.series.sets` says."""
        resumed = augment.get("resume") is True
        order = Order(
            wanted=self._parameters if resumed else self._asked,
            repository=self._repository,
            roots=self._limits.roots,
            kept=self._kept if resumed else Kept(),
        )
        return series_datasets(order, data)

    @cached_property
    def _known(self) -> Columns | None:
        """The columns of the training; None before there was one."""
        header = self._kept.header
        if not header:
            return None
        return Columns.of(header, self._kept.columns(self._parameters), "the repository")

    @cached_property
    def _units(self) -> Units | None:
        """How columns are scaled; None if they are not."""
        wanted = self._parameters
        if not wanted.scales:
            return None
        bounds = Bounds.given(wanted) or self._kept.bounds
        if bounds is None:
            names = "min_vals or max_vals"
            if wanted.kind == "znorm":
                names = "mean_vals or variance_vals"
            raise InputError(f"predict: failed acquiring scaling {names}")
        return bounds.units()

    def _samples(self, series: Iterator[Found], *, labelled: bool) -> Iterator[Sample]:
        numbers, told, short = count(), 0, ""
        for found in series:
            cutting = self._cutting(found)
            short = short or f"{found.uri[:200]} has {len(found.values)} steps of {cutting.length}"
            scaled = cutting.units.scaled(found.values)
            cut = _windows if labelled else Cutting.told
            for sample in cut(cutting, scaled, found.uri):
                told += 1
                yield self._marked(sample, str(next(numbers)) if found.numbered else sample.uri)
        if short and not told:
            raise InputError(f"no series is long enough to be measured: {short}")

    def _marked(self, sample: Sample, uri: str) -> Sample:
        if self._parameters.continuation:
            # The number keeps such samples apart, and so in their order.
            sample.meta["continues"] = next(self._continued)
        return replace(sample, uri=uri)

    def _cutting(self, found: Found) -> Cutting:
        columns = found.columns
        units = self._units or unscaled(len(columns.used))
        if len(units.spread) != len(columns.used):
            raise InputError(
                f"{found.uri[:200]} has {len(columns.used)} columns, "
                f"the bounds are of {len(units.spread)}"
            )
        return Cutting(columns, units, self._parameters)

    @property
    def _dialect(self) -> Dialect:
        return Dialect(self._parameters.separator, self._parameters.quote)

    def _header(self, data: Sequence[Datum]) -> Row | None:
        """The first element, if it is the header of the others."""
        content = data[0].content
        if len(data) < 2 or not isinstance(content, str) or "\n" in content.strip():
            return None
        row = next(self._dialect.of_text(content, data[0].uri), None)
        if row is None or self._parameters.separator not in content or self._unnamed(row):
            return None
        return row

    def _headed(self, row: Row) -> bool:
        """A lone row that may be of a series: it has its numbers, or the names of columns."""
        known = self._known
        if known is None:
            return False
        return self._unnamed(row) or any(cell.strip() in known.used for cell in row.cells)

    def _unnamed(self, row: Row) -> bool:
        """A row of numbers, not a header: that can be told once the columns are known."""
        return self._known is not None and bool(self._known.unnamed(row.cells))

    def _series(
        self, datum: Datum, header: Row | None, *, numbered: bool, labelled: bool
    ) -> Iterator[Found]:
        content = datum.content
        if isinstance(content, np.ndarray):
            raise InputError(f"{datum.uri[:200]} is an array, not a table")
        if isinstance(content, Path):
            for file, name in _files(content, datum.uri):
                with self._dialect.of_file(file, name, self._limits.roots) as rows:
                    yield self._found(rows, name, labelled=labelled)
            return
        for found in self._sequences(content, datum.uri, header):
            if len(found) == 1 and not self._headed(found[0]):
                said = self._parameters.separator.join(found[0].cells)
                raise InputError(f"{said[:80]!r} is neither a file nor a series")
            series = self._found(iter(found), datum.uri, labelled=labelled)
            yield replace(series, numbered=numbered)

    def _sequences(self, content: str | bytes, uri: str, header: Row | None) -> Iterator[list[Row]]:
        """The tables of a string; the header of the first is that of all."""
        dialect = self._dialect
        rows = (
            dialect.of_text(content, uri)
            if isinstance(content, str)
            else dialect.of_bytes(content, uri)
        )
        for ends, group in groupby(rows, lambda row: row.cells[0].strip() == END_OF_SEQUENCE):
            if ends:
                continue
            found = list(group)
            if header is not None and found[0].cells != header.cells:
                found.insert(0, header)
            elif header is None and not self._unnamed(found[0]):
                header = found[0]
            yield found

    def _found(self, rows: Iterator[Row], uri: str, *, labelled: bool) -> Found:
        columns = self._known
        if columns is None:
            first = next(rows, None)
            if first is None:
                raise InputError(f"{uri[:200]} has no header")
            columns = Columns.of(first.cells, self._parameters, uri)
            rows = chain([first], rows)
        return Found(uri, columns, columns.table(rows, uri, labelled=labelled))


def _files(path: Path, uri: str) -> Iterator[tuple[Path, str]]:
    """The tables that a path means, and what they are called."""
    if not path.is_dir():
        yield path, str(path) if uri.startswith("file:") else uri
        return
    name = str(path) if uri.startswith("file:") else uri
    for file in files_below(path):
        if file.suffix.lower() == ".csv":
            yield file, str(Path(name) / file.relative_to(path))


def _windows(cutting: Cutting, series: Array, uri: str) -> Iterator[Sample]:
    """The windows that a test has; none of a series too short, which is logged."""
    begins = cutting.labelled_starts(len(series))
    if not begins:
        log.warning("%s has %d steps, fewer than %d: left out", uri, len(series), cutting.length)
    return (cutting.labelled(series, start, uri) for start in begins)
