"""Measures of rows and targets by a task's tally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddstream.data import Sample, Target
from ddstream.tasks import Task
from ddstream.tasks.protocol import Rows


def tallied(
    task: Task, rows: Rows, targets: Sequence[Target], measures: Sequence[str]
) -> Mapping[str, Any]:
    """What the task's tally says of one batch."""
    tally = task.tally(measures)
    tally.add(rows, [Sample(str(i), {}, target) for i, target in enumerate(targets)])
    return tally.result()
