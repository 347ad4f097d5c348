"""A contact sheet: images side by side, each with what was predicted for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE, MARGIN, TEXT, COLUMNS = 64, 6, 20, 20
GREEN, RED, PAPER = (60, 140, 40), (40, 40, 220), 250


@dataclass(frozen=True, slots=True)
class Cell:
    """An image and its prediction; `right` says whether the prediction is."""

    path: Path
    label: str
    right: bool


def write_sheet(path: Path, cells: Sequence[Cell]) -> None:
    """Write the sheet as PNG; wrong predictions come first and are red."""
    ordered = sorted(cells, key=lambda cell: cell.right)
    rows = [ordered[i : i + COLUMNS] for i in range(0, len(ordered), COLUMNS)]
    blank = np.full((SIDE + TEXT + MARGIN, SIDE + MARGIN, 3), PAPER, np.uint8)
    lines = []
    for row in rows:
        tiles = [_tile(blank.copy(), cell) for cell in row]
        lines.append(np.hstack([*tiles, *[blank] * (COLUMNS - len(row))]))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(lines))


def _tile(paper: NDArray[Any], cell: Cell) -> NDArray[Any]:
    image = cv2.imread(str(cell.path))
    assert image is not None
    paper[:SIDE, :SIDE] = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    colour = GREEN if cell.right else RED
    cv2.putText(paper, cell.label, (2, SIDE + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1)
    return paper
