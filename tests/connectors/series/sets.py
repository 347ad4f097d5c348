"""Tables of series for tests: written, read by the connector, made into data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddstream.connectors.protocol import Limits
from ddstream.connectors.series.connector import SeriesConnector
from ddstream.data import Dataset, Datasets, Datum, Sample
from ddstream.repository import Repository

LABELS: dict[str, Any] = {"label": "y", "timesteps": 4}
FORECAST: dict[str, Any] = {"backcast_timesteps": 4, "forecast_timesteps": 2}


def table(steps: int, first: int = 0) -> str:
    """Steps of x and y: x counts from `first`, y is a hundred times that."""
    rows = (f"{first + i},{100 * (first + i)}" for i in range(steps))
    return "x,y\n" + "".join(f"{row}\n" for row in rows)


def written(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def connector(repository: Path, **raw: Any) -> SeriesConnector:
    """The connector of a repository."""
    opened = Repository.open(repository, create=True)
    return SeriesConnector({"connector": "csvts", **raw}, opened, Limits())


def made(
    repository: Path, *data: Path, mllib: Mapping[str, Any] | None = None, **raw: Any
) -> Datasets:
    """The data sets of a training, whose files are kept as a training keeps them."""
    found = connector(repository, **raw).datasets(data, mllib or {})
    for name, content in found.files.items():
        Repository(repository).write(name, content)
    return found


def read(reading: SeriesConnector, *contents: str | bytes | Path) -> list[Sample]:
    """The samples of a call with these elements."""
    data = [
        Datum(str(each) if isinstance(each, Path) else str(place), each)
        for place, each in enumerate(contents)
    ]
    return list(reading.gather(data, None))


def everything(data: Dataset) -> list[Sample]:
    """All samples of a set."""
    return [data.read(index, None) for index in range(len(data))]


def spans(data: Dataset) -> list[str]:
    """Which steps the samples of a set have."""
    return [sample.uri.rpartition("/")[2] for sample in everything(data)]
