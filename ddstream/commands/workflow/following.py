"""Following a training: looks at it again and again, tells what is new, and stops it when asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ddstream.api.job import JobStatus
from ddstream.commands.workflow.events import Events
from ddstream.commands.workflow.history import NewPoints
from ddstream.commands.workflow.interrupts import Interrupts
from ddstream.commands.workflow.options import TrainOptions
from ddstream.face.training_job import TrainingJob

HISTORY: Final = {"measure_hist": True, "max_hist_points": 10_000}
_ENDING = 0.2
"""Seconds between two looks at a training that was asked to stop, at most."""


@dataclass(slots=True)
class Following:
    """A job and who hears of it.

    The first interrupt, or `timeout`, asks it to stop, so that its checkpoint is kept; the second,
    or `cancel_timeout`, kills it.
    """

    job: TrainingJob
    options: TrainOptions
    events: Events
    points: NewPoints
    run_id: str
    cancelled: str = ""
    """Why it was asked to stop; empty while nobody has."""
    forced: str = ""
    """Why it was killed."""
    _asked: float = 0.0
    _told: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> Mapping[str, Any]:
        """The report of the training when it has ended, however it did."""
        began = time.monotonic()
        with Interrupts() as interrupts:
            while True:
                report = self.job.status(HISTORY)
                self._tell(report)
                if JobStatus(report["status"]).ended:
                    return report
                late = self.options.timeout is not None
                late = late and time.monotonic() - began >= (self.options.timeout or 0)
                self._stop(interrupts.count, late=late)
                pause = self.options.poll_interval
                interrupts.wait(min(pause, _ENDING) if self.cancelled else pause)

    def _stop(self, interrupts: int, *, late: bool) -> None:
        if not self.cancelled and (interrupts or late):
            self.cancelled = "interrupt" if interrupts else "timeout"
            self._asked = time.monotonic()
            self.job.cancel(wait=False)
        if self.cancelled and not self.forced:
            waited = time.monotonic() - self._asked >= self.options.cancel_timeout
            again = interrupts > (self.cancelled == "interrupt")
            if again or waited:
                self.forced = "interrupt" if again else "cancel timeout"
                self.job.cancel(wait=False, force=True)

    def _tell(self, report: Mapping[str, Any]) -> None:
        for point in self.points(report):
            self.events("metric", run_id=self.run_id, **point._asdict())
        told = {
            "job": self.job.job,
            "status": report["status"],
            "measure": report.get("measure"),
            "measures": report.get("measures"),
            "message": _message(report),
            "cancellation_reason": self.cancelled or None,
            "force_reason": self.forced or None,
        }
        if told != self._told:
            self._told = told
            self.events("training_status", run_id=self.run_id, time=report.get("time"), **told)


def failure(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status object of the error that ended a training; empty if none did."""
    error: Mapping[str, Any] = report.get("Error") or {}
    return error


def _message(report: Mapping[str, Any]) -> str | None:
    error = failure(report)
    return str(error.get("dd_msg") or error.get("msg")) if error else None
