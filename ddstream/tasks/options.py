"""Options of `parameters.output` that only some tasks have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ddstream.api.predict import OutputParameters
from ddstream.tasks.protocol import Task

_DETECTION: Final = frozenset({"detection"})
_CTC: Final = frozenset({"ctc"})
_FEATURES: Final = frozenset({"features"})
HAVING: Mapping[str, frozenset[str]] = {
    "best_bbox": _DETECTION,
    "nms_threshold": _DETECTION,
    "top_k": _DETECTION,
    "rois": _DETECTION,
    "multibox_rois": _DETECTION,
    "ctc": _CTC,
    "blank_label": _CTC,
    "confidences": frozenset({"segmentation"}),
    "binarized": _FEATURES,
    "bool_binarized": _FEATURES,
    "string_binarized": _FEATURES,
    "logits_blob": frozenset({"classification"}),
    "regression": frozenset({"classification", "regression"}),
}
"""The tasks that each of them belongs to; others of a detector are refused by the backend."""

LABELS: Mapping[str, str] = {
    "bbox": "detection",
    "segmentation": "segmentation",
    "ctc": "ctc",
    "multi_label": "classification",
}
"""The task that each kind of labels of `parameters.input` belongs to."""


def misplaced(asked: Mapping[str, Any], task: str) -> list[str]:
    """A warning for each kind of labels that a call's raw input asks for and its task has not."""
    if task not in LABELS.values():
        return []
    return [
        f"parameters.input.{name} was ignored: the service does {task}"
        for name, owner in LABELS.items()
        if asked.get(name) is True and task != owner
    ]


def unmeasured(measures: Sequence[str], task: Task) -> list[str]:
    """A warning for each measure that the task has not."""
    return [
        f"parameters.output.measure {name[:40]} is no measure of {task.name}"
        for name in measures
        if not task.knows(name)
    ]


def idle(output: OutputParameters, task: str) -> list[str]:
    """A warning for each option that was given, asks for something, and that the task has not."""
    neutral = OutputParameters()
    return [
        f"parameters.output.{name} was ignored: {task} has none"
        for name, tasks in HAVING.items()
        if task not in tasks and getattr(output, name) != getattr(neutral, name)
    ]
