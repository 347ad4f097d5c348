"""Curves in characters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_BARS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of the dots of a braille character, rows of two from above."""
_BLANK = 0x2800


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as bars in one line, at most `width` of them.

    >>> sparkline([0, 1, 2, 3], 4)
    '▁▃▆█'
    """
    levels = _levels(values, width, len(_BARS))
    return "".join(_BARS[level] for level in levels)


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """Values as a line of dots over the whole width, in rows of characters from above."""
    found = _levels(values, width * 2, height * 4)
    places = np.linspace(0, len(found) - 1, width * 2)
    levels = np.interp(places, np.arange(len(found)), found).round().astype(int)
    cells = np.full((height, width), _BLANK)
    for column, (last, level) in enumerate(pairwise([levels[0], *levels])):
        # From one dot to the next the line goes up or down without a gap.
        for each in range(min(last + 1, level), max(last - 1, level) + 1):
            row = height * 4 - 1 - each
            cells[row // 4, column // 2] |= _DOTS[row % 4][column % 2]
    return ["".join(map(chr, row)) for row in cells]


def _levels(values: Sequence[float], count: int, heights: int) -> list[int]:
    """At most `count` means of neighbours, each as one of `heights` levels from 0 on."""
    array = np.asarray(values, np.float64)
    if len(array) > count:
        array = np.array([part.mean() for part in np.array_split(array, count)])
    if not len(array):
        return []
    low, high = array.min(), array.max()
    scaled = (array - low) / (high - low) if high > low else np.full(len(array), 0.5)
    return [round(float(each) * (heights - 1)) for each in scaled]
