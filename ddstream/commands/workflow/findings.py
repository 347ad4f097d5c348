"""Findings: what the check of a data set has counted, and the first of its faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddstream.errors import InputError

FIRST = 5
"""Faults that are told in words; the others are counted."""


@dataclass(slots=True)
class Findings:
    """One data set: its samples, what they are, and what is wrong with it."""

    dataset: str
    path: Path
    samples: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    """How often each class is there; for boxes the objects, for masks the images."""
    counts: Counter[str] = field(default_factory=Counter)
    """What else was counted, by its name."""
    errors: int = 0
    first_errors: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note something that is wrong."""
        self.errors += 1
        if len(self.first_errors) < FIRST:
            self.first_errors.append(text)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Note what a connector would refuse."""
        try:
            yield
        except (InputError, OSError) as error:
            self.fault(getattr(error, "detail", "") or str(error))

    def payload(self) -> dict[str, Any]:
        """The members of a `dataset_check` event."""
        names = sorted(self.classes, key=lambda name: (not name.isdigit(), name.zfill(12)))
        return {
            "dataset": self.dataset,
            "path": str(self.path),
            "status": "failed" if self.errors else "ok",
            "samples": self.samples,
            "classes": {name: self.classes[name] for name in names} or None,
            **self.counts,
            "errors": self.errors,
            "first_errors": self.first_errors or None,
        }
