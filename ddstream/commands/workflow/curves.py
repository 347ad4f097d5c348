"""The curves of a run as a picture: one plot a measure, its test sets in one plot."""

from __future__ import annotations

import math
import re
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddstream.commands.workflow.run_folder import Points

CLOCKS = ("elapsed_time_ms",)
"""Series that say nothing of the model."""
_COLUMNS = 3
_PLOT = (4.0, 2.8)
"""Inches of one plot, wide and high."""
_TEST_SET = re.compile(r"_test(\d+)")


def draw(points: Points, title: str, path: Path) -> bool:
    """Write the picture, a PNG; False if there is nothing to draw."""
    plots = grouped(points)
    if not plots:
        return False
    columns = min(_COLUMNS, len(plots))
    rows = math.ceil(len(plots) / columns)
    figure = Figure(figsize=(_PLOT[0] * columns, _PLOT[1] * rows + 0.4), layout="constrained")
    figure.suptitle(title.replace("$", r"\$"))
    for place, (name, series) in enumerate(plots.items(), start=1):
        _plot(figure.add_subplot(rows, columns, place), name, series)
    figure.savefig(path, format="png", dpi=100)
    return True


def grouped(points: Points) -> dict[str, Points]:
    """The series of each plot: a measure, with the same of each test set if they are several.

    >>> list(grouped({"acc": [(1, 0.5)], "acc_test0": [(1, 0.5)], "acc_test1": [(1, 0.5)]}))
    ['acc']
    """
    plots: dict[str, Points] = {}
    for name, series in points.items():
        if name in CLOCKS:
            continue
        plots.setdefault(_TEST_SET.sub("", name), {})[name] = series
    # The mean over one test set is that test set.
    return {
        stem: {stem: found[stem]} if stem in found and len(found) == 2 else found
        for stem, found in plots.items()
    }


def _plot(axes: Axes, name: str, series: Points) -> None:
    for label, values in series.items():
        iterations, heights = zip(*values, strict=True)
        axes.plot(iterations, heights, marker="." if len(values) < 50 else "", label=label)
    axes.set_title(name, fontsize="small")
    axes.tick_params(labelsize="x-small")
    axes.grid(visible=True, alpha=0.3)
    if len(series) > 1:
        axes.legend(fontsize="x-small")
