"""The live view of a training on a terminal: progress, time left, measures and their curves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ddstream.commands.workflow.curves import grouped
from ddstream.commands.workflow.events import Event, as_text
from ddstream.commands.workflow.history import EVERY_ITERATION
from ddstream.commands.workflow.outcomes import QUIET
from ddstream.commands.workflow.plots import curve, sparkline
from ddstream.commands.workflow.run_folder import Points
from ddstream.logs import configure

_REFRESHED: Final = 4
"""Times a second."""
_CURVE: Final = (60, 6)
"""Characters of the large curve, wide and high."""
_LINE: Final = 30
_MEASURES: Final = 12
"""Measures that are shown; a model of many classes has hundreds."""
_PASSING: Final = frozenset({"metric", "training_status", "prediction"})


class LiveView:
    """Shows the events of a training; what does not change any more stands above, as lines."""

    def __init__(self, iterations: int, console: Console | None = None) -> None:
        self._console = console or Console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left {task.fields[left]}"),
            console=self._console,
        )
        self._task = self._progress.add_task("waiting", total=iterations, left="?")
        self._points: Points = {}
        self._live = Live(
            get_renderable=self._shown, console=self._console, refresh_per_second=_REFRESHED
        )

    def __call__(self, event: Event) -> None:
        """See Listener."""
        name = event["event"]
        if name == "metric":
            self._points.setdefault(event["name"], []).append((event["iteration"], event["value"]))
        elif name == "training_status":
            self._advance(event)
        if name not in _PASSING:
            self._console.print(escape(as_text(event)), highlight=False)
        if name == "run_started":
            self._live.start()
            # What is logged from now on goes above the view.
            configure(QUIET, "text", stream=sys.stderr)

    def known(self, points: Points) -> None:
        """Begin with the points of earlier runs."""
        self._points = {name: list(series) for name, series in points.items()}

    def close(self) -> None:
        """Leave the last state on the terminal."""
        if self._live.is_started:
            self._live.refresh()
            self._live.stop()
            configure(QUIET, "text")

    def _advance(self, event: Event) -> None:
        measure: Mapping[str, Any] = event.get("measure") or {}
        losses = self._points.get(EVERY_ITERATION)
        self._progress.update(
            self._task,
            description=str(measure.get("state") or event["status"]),
            completed=losses[-1][0] + 1 if losses else 0,
            left=measure.get("remain_time_str", "?"),
        )

    def _shown(self) -> RenderableType:
        loss = [value for _, value in self._points.get(EVERY_ITERATION, ())]
        rows = [Text(row, style="cyan") for row in curve(loss, *_CURVE)] if len(loss) > 1 else []
        return Group(self._progress, *rows, *([self._table()] if self._points else []))

    def _table(self) -> Table:
        grid = Table("measure", "last", "min", "max", "curve", box=None, pad_edge=False)
        names = [name for plot in grouped(dict(self._points)).values() for name in plot]
        for name in names[:_MEASURES]:
            values = [value for _, value in self._points[name]]
            numbers = (f"{number:.5g}" for number in (values[-1], min(values), max(values)))
            grid.add_row(Text(name), *numbers, sparkline(values, _LINE))
        if len(names) > _MEASURES:
            grid.add_row(f"and {len(names) - _MEASURES} more")
        return grid
