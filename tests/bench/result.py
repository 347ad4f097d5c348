"""What a case measured, and the table of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.table import Table

TITLE = "ddstream beside bare loops on the same cores: medians"


@dataclass(frozen=True, slots=True)
class Result:
    """One case: our values and the reference's, round by round.

    `goal` is met by a ratio (ours / reference) on its `better` side, or, with `absolute`, by our
    value itself.
    """

    case: str
    what: str
    unit: str
    ours: Sequence[float]
    reference: Sequence[float]
    goal: float
    better: Literal["higher", "lower"] = "higher"
    absolute: bool = False
    lost: int = 0
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Ours over the reference's, round by round."""
        return [a / b for a, b in zip(self.ours, self.reference, strict=True)]

    @property
    def judged(self) -> Sequence[float]:
        """The values that the goal is about."""
        return self.ours if self.absolute else self.ratios

    @property
    def met(self) -> bool:
        """The goal is reached."""
        value = statistics.median(self.judged)
        return value >= self.goal if self.better == "higher" else value <= self.goal


@dataclass(slots=True)
class Latencies:
    """Seconds that single requests took."""

    seconds: list[float] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        """The given part (0 to 1) of them, in milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1e3

    def told(self) -> str:
        """p50 and p99."""
        return f"p50 {self.percentile(0.5):.0f}, p99 {self.percentile(0.99):.0f} ms"


def table(results: Sequence[Result]) -> Table:
    """All results, one a row."""
    shown = Table(title=TITLE)
    for name in ("case", "what", "ours", "reference", "ratio", "spread", "goal", "lost", "note"):
        shown.add_column(name, justify="left" if name in ("what", "note") else "right")
    for each in results:
        shown.add_row(*_row(each), style=None if each.met else "yellow")
    return shown


def _row(result: Result) -> tuple[str, ...]:
    sign = ">=" if result.better == "higher" else "<="
    unit = f" {result.unit}" if result.absolute else ""
    return (
        result.case,
        result.what,
        f"{statistics.median(result.ours):.4g} {result.unit}",
        f"{statistics.median(result.reference):.4g} {result.unit}",
        f"{statistics.median(result.ratios):.3f}",
        f"{min(result.judged):.3f} - {max(result.judged):.3f}",
        f"{sign} {result.goal:g}{unit}",
        str(result.lost),
        result.note,
    )
