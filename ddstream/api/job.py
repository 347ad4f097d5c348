"""A training job as every side sees it: its record, its history, and the answers about them."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

from ddstream.api.envelope import Answer, Json, warned
from ddstream.api.showing import NAME as PREDICTIONS
from ddstream.errors import DDError, from_status


class JobStatus(StrEnum):
    """Where a job is in its life (contract 1.8, appendix B)."""

    RUNNING = "running"
    """Queued or training."""
    CANCELLING = "cancelling"
    """Asked to stop; its checkpoint is being written."""
    TERMINATING = "terminating"
    """Being killed."""
    FINISHED = "finished"
    """Came to its last iteration."""
    TERMINATED = "terminated"
    """Stopped by its user; the last checkpoint is kept."""
    ERROR = "error"
    """Failed; the error's status object tells why."""

    @property
    def ended(self) -> bool:
        """Nothing more will happen; the report waits to be read."""
        return self in (JobStatus.FINISHED, JobStatus.TERMINATED, JobStatus.ERROR)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job at one moment. A change is a new record (`evolve`); times are Unix seconds."""

    service: str
    number: int
    status: JobStatus = JobStatus.RUNNING
    started: float = field(default_factory=time.time)
    ended: float | None = None
    measure: Mapping[str, Any] = field(default_factory=dict)
    """The live values while it runs; the final ones after."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What joins `measure` in the body: measures and parameters at the end, and the
    `test_predictions` of the last test."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """mltype, sname, description, model."""
    error: Mapping[str, Any] | None = None
    """The status object of the error that ended it."""
    correlation_id: str = ""
    """The request that started it; the same id again gets the same job."""
    epoch: int = 0
    """Counts the attempts: each resumption by another trainer is one more."""
    version: int = 0
    """The service's version that its end made; 0 while it runs."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """The train request, for who resumes it."""
    warnings: Sequence[str] = ()
    """What the training ignored or did otherwise than asked."""

    def evolve(self, **changes: Any) -> Self:
        """The record after a change."""
        return replace(self, **changes)

    @property
    def run(self) -> str:
        """Names the training through all its attempts, and no other one."""
        return f"{self.service}/{self.number} of {self.started:.6f}"

    def seconds(self) -> float:
        """Whole seconds from start to end, or to now."""
        return float(int((self.ended or time.time()) - self.started))

    def to_json(self) -> Json:
        """For a topic or a pipe."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> JobRecord:
        """The inverse of `to_json`."""
        return cls(**{**raw, "status": JobStatus(raw["status"])})


def hidden_number() -> int:
    """A number for a training that is waited for: below 0, so that it takes none of the others'.

    Nobody is told of it, and it is no other job's.
    """
    return -1 - secrets.randbits(31)


class JobChange(NamedTuple):
    """A new record of a job, and the points that joined its history since the last one.

    `whole` says that the points are the entire history: what was told before is void, since a
    training that goes on from a checkpoint takes back what came after it.
    """

    record: JobRecord
    points: Mapping[str, list[float]] = {}
    whole: bool = False

    def after(self, before: JobChange | None) -> JobChange:
        """Both changes as one."""
        if before is None or self.whole:
            return self
        points = {name: list(values) for name, values in before.points.items()}
        for name, values in self.points.items():
            points.setdefault(name, []).extend(values)
        return JobChange(self.record, points, before.whole)


class History:
    """The series of a job's measures: metric -> values in order."""

    def __init__(self, series: Mapping[str, list[float]] | None = None) -> None:
        self.series: dict[str, list[float]] = {k: list(v) for k, v in (series or {}).items()}

    def extend(self, points: Mapping[str, list[float]]) -> None:
        """Add points at the end of their series."""
        for name, values in points.items():
            self.series.setdefault(name, []).extend(values)

    def sampled(self, most: int | None) -> Json:
        """`measure_hist` and `measure_sampling` (contract 1.8), at most `most` points a series.

        The answer is the caller's own: the history goes on in another thread.
        """
        hist: Json = {}
        sampling: Json = {}
        for name, values in self.series.items():
            step = 1 if most is None else max(1, -(-len(values) // max(1, most)))
            if step > 1:
                sampling[f"{name}_sampling"] = step
            hist[f"{name}_hist"] = values[::step]
        return {"measure_hist": hist, "measure_sampling": sampling}


def started_answer(record: JobRecord, warnings: list[str]) -> Answer:
    """The answer to an asynchronous `POST /train`."""
    head: Json = {"method": "/train", "job": record.number, "status": "running"}
    if warnings:
        head["warnings"] = warnings
    return Answer(201, head)


def job_answer(
    record: JobRecord, history: History, most: int | None, *, predictions: bool = False
) -> Answer:
    """The answer to `GET /train`; `most` bounds the history, None leaves it out."""
    head: Json = {"method": "/train", "job": record.number, "status": str(record.status)}
    if record.status is JobStatus.ERROR:
        return Answer(200, head, {"Error": record.error})
    head["time"] = record.seconds()
    shown = record if predictions else _without_predictions(record)
    return Answer(200, warned(head, list(record.warnings)), _body(shown, history, most))


def blocking_answer(record: JobRecord, history: History, most: int | None) -> Answer:
    """The answer to a `POST /train` that waited. Raises the error of a job that failed."""
    if record.error is not None:
        raise from_status(record.error)
    head: Json = {"method": "/train", "time": record.seconds()}
    return Answer(201, warned(head, list(record.warnings)), _body(record, history, most))


def report_json(record: JobRecord, history: History) -> Json:
    """What `metrics.json` keeps: the report and the whole history, whatever the end was."""
    job = {"job": record.number} if record.number > 0 else {}
    head = {"method": "/train", **job, "status": str(record.status), "time": record.seconds()}
    body = _body(_without_predictions(record), history, sys.maxsize)
    return Answer(200, head, body).json()


def _without_predictions(record: JobRecord) -> JobRecord:
    report = {name: value for name, value in record.report.items() if name != PREDICTIONS}
    return record.evolve(report=report)


def _body(record: JobRecord, history: History, most: int | None) -> Json:
    body: Json = {"measure": record.measure, **record.report, **record.about}
    return body if most is None else body | history.sampled(most)


def stopped_answer(record: JobRecord) -> Answer:
    """The answer to `DELETE /train`: how the job ended, or that it is ending."""
    head: Json = {"method": "/train", "job": record.number, "status": str(record.status)}
    if record.status.ended:
        head["time"] = record.seconds()
    return Answer(200, head)


def job_line(record: JobRecord) -> Json:
    """The entry of a service's `jobs` list."""
    line: Json = {"job": record.number, "status": str(record.status)}
    if record.status.ended:
        return line | {"status": "finished" if record.error is None else "error"}
    return line | {"measure": record.measure, "time": record.seconds()}


def failed(record: JobRecord, error: DDError) -> JobRecord:
    """The record of a job that `error` ended."""
    return record.evolve(status=JobStatus.ERROR, error=error.status(), ended=time.time())
