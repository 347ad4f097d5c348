"""The history of a training as the training itself keeps it: what a checkpoint holds of it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import torch


class Series:
    """Measures' points in order, eight bytes each: a week has millions of iterations."""

    def __init__(self, kept: Mapping[str, torch.Tensor] | None = None) -> None:
        self._points = {name: array("d", values.tolist()) for name, values in (kept or {}).items()}

    def add(self, points: Mapping[str, float]) -> None:
        """One point more for each of these."""
        for name, value in points.items():
            self._points.setdefault(name, array("d")).append(value)

    def kept(self) -> dict[str, torch.Tensor]:
        """For a checkpoint: plain tensors, a copy of each."""
        return {
            name: torch.frombuffer(bytearray(values), dtype=torch.float64)
            for name, values in self._points.items()
        }

    def lists(self) -> dict[str, list[float]]:
        """The same as lists."""
        return {name: values.tolist() for name, values in self._points.items()}
