"""Small tables and sparse rows on disk, and what their connectors make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddstream.connectors import CONNECTORS, Connector
from ddstream.connectors.protocol import Gathering
from ddstream.data import Dataset, Datasets, Datum, Sample
from ddstream.repository import Repository

HOUSES = """id,rooms,kind,area,sold
h1,2,flat,50.5,no
h2,5,house,120,yes
h3,3,flat,70,no
h4,4,"boat, old",60,yes
"""
"""Four rows: an id, two numbers, words of three values, and a label of two."""
COLUMNS: dict[str, Any] = {"label": "sold", "id": "id", "categoricals": ["kind"]}
ROWS: list[list[float]] = [
    [2, 1, 0, 0, 50.5],
    [5, 0, 1, 0, 120],
    [3, 1, 0, 0, 70],
    [4, 0, 0, 1, 60],
]
"""What the model is given of them."""


def written(folder: Path, text: str = HOUSES, name: str = "houses.csv") -> Path:
    """A file with this text."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def connector(folder: Path, kind: str = "csv", **raw: Any) -> Connector:
    """A connector with these `parameters.input`, and a repository in a folder."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    return CONNECTORS.load(kind)(raw, Repository(folder / "model"))


def made(
    folder: Path,
    *data: Path,
    kind: str = "csv",
    mllib: Mapping[str, Any] | None = None,
    **raw: Any,
) -> Datasets:
    """The data sets of a train request; what was learned is kept as a training keeps it."""
    found = connector(folder, kind, **raw).datasets(data, mllib or {})
    for name, content in found.files.items():
        (folder / "model" / name).write_bytes(content)
    return found


def everything(data: Dataset) -> list[Sample]:
    """All samples of a set."""
    return [data.read(index, None) for index in range(len(data))]


def rows(samples: Sequence[Sample]) -> list[list[float]]:
    """The rows of samples."""
    return [sample.inputs["row"].tolist() for sample in samples]


def read(used: Connector, *contents: str | bytes | Path) -> list[Sample]:
    """The samples of a call's data."""
    assert isinstance(used, Gathering)
    return list(used.gather([Datum(str(i), each) for i, each in enumerate(contents)], None))


def told(used: Connector, *contents: str | bytes | Path, **mllib: Any) -> list[Sample]:
    """The samples of a call's data with their targets."""
    assert isinstance(used, Gathering)
    return list(used.gather([Datum(str(i), each) for i, each in enumerate(contents)], mllib))
