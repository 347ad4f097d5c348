"""Schema of a table: which columns are inputs, how words become columns, what labels are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ddstream.api.csv import CsvInput
from ddstream.connectors.cells import no_column
from ddstream.connectors.tables.labels import NOTHING, TableLabels
from ddstream.connectors.tables.scaling import Scaling, missing
from ddstream.data import Dimensions
from ddstream.errors import InputError

Places = Mapping[str, int]
"""The column of each word, counted from the first one's."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the cells of a row are: `names` are those of all, the others places among them.

    Labels are all there or none is; the id is -1 if it is not there.
    """

    names: tuple[str, ...]
    inputs: tuple[int, ...]
    labels: tuple[int, ...] = ()
    id: int = -1


@dataclass(frozen=True, slots=True)
class Schema:
    """What a model is given of a table, in the order of its training.

    `header` are all columns of the training's tables, `columns` the inputs among them.
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    words: Mapping[str, Places] = field(default_factory=dict)
    scaling: Scaling | None = None
    labels: TableLabels = NOTHING
    id: str = ""

    @classmethod
    def of(cls, header: Sequence[str], wanted: CsvInput, uri: str) -> Schema:
        """That of a table with this header, nothing learned yet; labels are not looked at.

        Raises InputError for a column that is missing or there twice.
        """
        names = named(header, uri)
        if wanted.id and wanted.id not in names:
            raise no_column("id", wanted.id, names, uri)
        out = {*wanted.ignore, *wanted.label, wanted.id}
        inputs = tuple(name for name in names if name not in out)
        for column in wanted.words:
            if column not in inputs:
                raise no_column("categorical", column, inputs, uri)
        if not inputs:
            raise InputError(f"{uri[:200]} has no column that is an input")
        return cls(names, inputs, dict(wanted.categoricals_mapping), id=wanted.id)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            header=tuple(raw["header"]),
            columns=tuple(raw["columns"]),
            words={name: dict(places) for name, places in raw["words"].items()},
            scaling=Scaling.from_json(raw["scaling"]),
            labels=TableLabels.from_json(raw["labels"]),
            id=raw["id"],
        )

    def to_json(self) -> dict[str, Any]:
        """For the repository."""
        return {
            "header": self.header,
            "columns": self.columns,
            "words": self.words,
            "scaling": self.scaling.to_json() if self.scaling else {},
            "labels": self.labels.to_json(),
            "id": self.id,
        }

    @property
    def expanded(self) -> tuple[str, ...]:
        """The names of the model's columns: a column of words has one for each (`c_<value>`)."""
        found: list[str] = []
        for column in self.columns:
            places = self.words.get(column)
            if places is None:
                found.append(column)
            else:
                found += [f"{column}_{each}" for each in sorted(places, key=places.__getitem__)]
        return tuple(found)

    @property
    def dimensions(self) -> Dimensions:
        """The model's columns, and how much it tells; an autoencoder gives back what it got."""
        columns = len(self.expanded)
        none = self.labels.goal == "nothing"
        return Dimensions(outputs=columns if none else self.labels.count, columns=columns)

    def learned(self) -> dict[str, Any]:
        """What `body.parameters.input` of a training gives back."""
        mapping = {"categoricals_mapping": dict(self.words)} if self.words else {}
        return {"connector": "csv", **(self.scaling.to_json() if self.scaling else {}), **mapping}

    def under(self, wanted: CsvInput) -> Schema:
        """The same with what a request gives over it: values to scale by, places of words, an id.

        Raises InputError where that does not fit, or there is nothing to scale by.
        """
        words = {**self.words, **wanted.categoricals_mapping}
        if unknown := [name for name in words if name not in self.columns]:
            raise InputError(f"categoricals_mapping: {unknown[0][:80]} is no input of the model")
        found = replace(self, words=words, id=wanted.id or self.id)
        if self.words and len(found.expanded) != len(self.expanded):
            raise InputError(
                f"categoricals_mapping makes {len(found.expanded)} columns, "
                f"the model has {len(self.expanded)}"
            )
        scaling = Scaling.given(wanted) or self.scaling
        if scaling is None and wanted.scale:
            raise missing(wanted.kind)
        if scaling is not None:
            scaling.check(len(found.expanded))
        return replace(found, scaling=scaling)

    def is_header(self, cells: Sequence[str]) -> bool:
        """These cells are the names of columns: every input is among them."""
        names = {cell.strip() for cell in cells}
        return all(column in names for column in self.columns)

    def layout(self, header: Sequence[str], uri: str, extra: Sequence[str] = ()) -> Layout:
        """Where the columns are in a table with this header.

        Columns that the training's tables have not got have to be in `extra`. Raises InputError
        for a column too many or too few.
        """
        names = named(header, uri)
        known = {*self.header, *extra, self.id}
        if other := [name for name in names if name not in known]:
            raise InputError(
                f"column {other[0][:80]} of {uri[:200]} is not in the training's tables: "
                "name it in parameters.input.ignore"
            )
        for column in self.columns:
            if column in extra:
                raise InputError(f"column {column[:80]} is ignored, the model was trained with it")
        return self._placed(names, uri)

    def unnamed(self, cells: int, uri: str) -> Layout:
        """Where the columns are in a row without a header, by the number of its cells.

        It has all columns of the training's tables, or lacks the labels, or the id too, or is
        of inputs alone. Raises InputError for any other number.
        """
        out = set(self.labels.columns)
        forms = (
            self.header,
            tuple(name for name in self.header if name not in out),
            tuple(name for name in self.header if name not in out | {self.id}),
            self.columns,
        )
        for names in forms:
            if len(names) == cells:
                return self._placed(names, uri)
        if cells > len(self.header):
            raise InputError(f"{uri[:200]}: line has more columns than headers")
        raise InputError(f"{uri[:200]} has {cells} cells for {len(forms[-1])} columns")

    def _placed(self, names: tuple[str, ...], uri: str) -> Layout:
        places = {name: place for place, name in enumerate(names)}
        for column in self.columns:
            if column not in places:
                raise InputError(f"{uri[:200]} has no column {column[:80]}")
        labels = tuple(places[name] for name in self.labels.columns if name in places)
        whole = len(labels) == len(self.labels.columns)
        return Layout(
            names=names,
            inputs=tuple(places[column] for column in self.columns),
            labels=labels if whole else (),
            id=places.get(self.id, -1),
        )


def named(header: Sequence[str], uri: str) -> tuple[str, ...]:
    """The names of a header's columns. Raises InputError for one that is there twice."""
    names = tuple(cell.strip() for cell in header)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{uri[:200]} has two columns {twice[:80]!r}")
    return names
