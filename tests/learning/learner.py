"""Learning through the API alone: create, train, get the status, predict with a measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddstream.api.parameters import merged
from ddstream.face.face import Face, Service

ENDED = {"finished", "error", "terminated", "cancelled"}


@dataclass(frozen=True)
class Lesson:
    """What a service is made of, and is taught. `data` is the training set, then the test sets.

    `small` is laid over `training`, the raw `parameters.mllib` of the call, in the short form.
    """

    name: str
    connector: Mapping[str, Any]
    mllib: Mapping[str, Any]
    training: Mapping[str, Any]
    data: Sequence[Path | str]
    measures: Sequence[str]
    output: Mapping[str, Any] | None = None
    train_input: Mapping[str, Any] | None = None
    small: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Learnt:
    """What came of a lesson: the job's report, and measures on the last test set, asked anew."""

    service: Service
    report: Mapping[str, Any]
    measure: Mapping[str, Any]


@dataclass(frozen=True)
class School:
    """Teaches over one face of the API; repositories lie below `folder`."""

    face: Face
    folder: Path
    edge: str
    full: bool

    def teach(self, lesson: Lesson) -> Learnt:
        """Create the service, train it, follow the job to its end, and measure a prediction."""
        repository = self.folder / "models" / f"{lesson.name}-{self.edge}"
        service = self.face.create_service(
            f"{lesson.name}-{self.edge}",
            model={"repository": str(repository), "create_repository": True},
            mllib="torch",
            input_parameters=lesson.connector,
            mllib_parameters=lesson.mllib,
            output_parameters=lesson.output,
        )
        training = lesson.training
        if not self.full and lesson.small:
            training = merged(training, lesson.small)
        measure = {"measure": list(lesson.measures)}
        job = service.train(
            [str(each) for each in lesson.data],
            input_parameters=lesson.train_input,
            mllib_parameters=training,
            output_parameters=measure,
            asynchronous=True,
        )
        report = job.wait(timeout=3600)
        assert report["status"] == "finished", report
        again = service.predict(
            [str(lesson.data[-1])],
            input_parameters=lesson.train_input,
            output_parameters={**(lesson.output or {}), **measure},
        )
        assert "measure" in again, str(again)[:600]
        return Learnt(service, report, again["measure"])
