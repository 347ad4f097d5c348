"""A small image data set on disk, and what a connector makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Dataset, Datasets
from ddstream.repository import Repository
from tests.connectors.images.pictures import connector, encoded, photo

SIZE = {"width": 16, "height": 16, "rgb": True}


def three_classes(tmp_path: Path) -> Path:
    """Write three classes of four images each, one of them in a deeper folder."""
    for number, name in enumerate(("owl", "ant", "bee")):
        for index in range(4):
            below = tmp_path / "birds" / name / ("deep" if index == 3 else "")
            below.mkdir(parents=True, exist_ok=True)
            picture = np.roll(photo(16, 16), number * 4 + index, axis=0)
            (below / f"{index}.png").write_bytes(encoded(picture))
    return tmp_path / "birds"


def listed(file: Path, *lines: str) -> Path:
    """Write a list file."""
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def made(*data: Path, mllib: dict[str, Any] | None = None, **raw: Any) -> Datasets:
    """The data sets of a train request."""
    return connector(**SIZE, **raw).datasets(data, mllib or {})


def kept(
    repository: Path, *data: Path, mllib: dict[str, Any] | None = None, **raw: Any
) -> Datasets:
    """The data sets of a train request on this repository."""
    repository.mkdir(exist_ok=True)
    return ImageConnector({**SIZE, **raw}, Repository(repository)).datasets(data, mllib or {})


def names(data: Dataset) -> list[str]:
    """The last two parts of each sample's uri."""
    return ["/".join(Path(data.read(i, None).uri).parts[-2:]) for i in range(len(data))]


def targets(data: Dataset) -> list[Any]:
    """The target of each sample."""
    return [data.read(i, None).target for i in range(len(data))]
