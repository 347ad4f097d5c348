"""Data sets of scikit-learn as files of tables and of sparse rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
TEST = 0.25
"""Part of the rows that is held out."""


@dataclass(frozen=True)
class Data:
    """Rows and what is to be told of them, shuffled once."""

    names: Sequence[str]
    rows: Numbers
    targets: Numbers

    @classmethod
    def of(cls, bunch: Any) -> Data:
        """A data set of scikit-learn; labels that have names become these."""
        order = np.random.default_rng(0).permutation(len(bunch.data))
        names = [str(name).replace(" ", "_") for name in bunch.feature_names]
        return cls(names, np.asarray(bunch.data)[order], np.asarray(bunch.target)[order])

    def halves(self) -> tuple[Data, Data]:
        """What is to be learned from, and what is held out."""
        end = int(len(self.rows) * (1 - TEST))
        return (
            Data(self.names, self.rows[:end], self.targets[:end]),
            Data(self.names, self.rows[end:], self.targets[end:]),
        )

    def write_csv(self, path: Path, words: Sequence[str] = ()) -> Path:
        """A file with a header and the label last; columns of `words` hold one of three words."""
        columns: list[Iterable[object]] = []
        for place, name in enumerate(self.names):
            column = self.rows[:, place]
            columns.append(_words(column) if name in words else column.tolist())
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*self.names, "label"])
            writer.writerows(zip(*columns, self.targets.tolist(), strict=True))
        return path

    def write_svm(self, path: Path) -> Path:
        """A line a row; what is 0 is left out."""
        with path.open("w") as file:
            for row, target in zip(self.rows, self.targets, strict=True):
                cells = " ".join(f"{place + 1}:{row[place]:g}" for place in np.flatnonzero(row))
                file.write(f"{target} {cells}\n")
        return path


def _words(column: Numbers) -> list[str]:
    bounds = np.quantile(column, [1 / 3, 2 / 3])
    names = ("low, or less", 'the "middle"', "high")
    return [names[int(place)] for place in np.digitize(column, bounds)]
