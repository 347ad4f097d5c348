"""The child process of a training: its spec comes on stdin, its life goes out as JSON lines.

`python -m ddstream.engine.trainer PARENT` ends when its parent says `stop`, closes the pipe or
dies; it knows nothing of services, jobs and queues.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any, cast

import orjson

from ddstream.api.envelope import Json, dumps
from ddstream.api.job import JobStatus
from ddstream.api.predict import OutputParameters
from ddstream.api.showing import NAME as PREDICTIONS
from ddstream.backends import BACKENDS
from ddstream.backends.protocol import Setup
from ddstream.connectors import CONNECTORS
from ddstream.data import Datasets, Progress
from ddstream.engine.pretrained import pretrained
from ddstream.engine.training import STOP, TrainingSpec
from ddstream.errors import InternalError, ParameterError, fault
from ddstream.fence import Fenced
from ddstream.measures import averaged
from ddstream.repository import Repository
from ddstream.roots import OutsideRoots

PERIOD = 0.2
"""Seconds between two messages of live values, at least."""
LAST = ("iteration", "train_loss")
"""Live values that the report has too."""
PR_SET_PDEATHSIG = 1


class Wire:
    """The way to the parent: one JSON line a message."""

    def __init__(self, fd: int) -> None:
        self._file = os.fdopen(fd, "wb")

    @classmethod
    def over_stdout(cls) -> Wire:
        """Take stdout for the messages; what anything else writes to it reaches stderr."""
        own = os.dup(1)
        os.dup2(2, 1)
        return cls(own)

    def send(self, **members: Any) -> None:
        """Send one message. Raises BrokenPipeError when the parent is gone."""
        self._file.write(dumps(members) + b"\n")
        self._file.flush()


class Story:
    """Tells the parent how the training goes, at most every `PERIOD`; a test's results at once."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.live: Mapping[str, Any] = {}
        self.measures: Sequence[Mapping[str, Any]] = ()
        self.losses: Mapping[str, float] = {}
        self.shown: Json = {}
        self._points: dict[str, list[float]] = {}
        self._told = 0.0

    def state(self, name: str, warnings: Sequence[str] = ()) -> None:
        """Say what the training is doing before its first iteration."""
        self.wire.send(measure={"state": name}, warnings=list(warnings))

    def goes_on(self, history: Mapping[str, Sequence[float]]) -> None:
        """What the history is up to here: nothing, or what the checkpoint holds."""
        self.wire.send(history=dict(history))

    def add(self, progress: Progress) -> None:
        """Take in an iteration."""
        self.live = progress.live
        self.losses = progress.losses or self.losses
        for name, value in progress.points.items():
            self._points.setdefault(name, []).append(value)
        if progress.measures is not None:
            self.measures = progress.measures
        shown = {"report": {PREDICTIONS: progress.predictions}} if progress.predictions else {}
        self.shown = shown.get("report", self.shown)
        now = time.monotonic()
        if progress.measures is not None or now - self._told >= PERIOD:
            self._told = now
            state = "testing" if progress.live.get("test_active") else "training"
            self.wire.send(measure={**self.live, "state": state}, points=self._take(), **shown)

    def end(self, status: JobStatus, report: Json, warnings: Sequence[str]) -> None:
        """The last message."""
        self.wire.send(
            status=status,
            measure=self.final(),
            points=self._take(),
            report={"measures": list(self.measures), **self.shown, **report},
            warnings=list(warnings),
        )

    def final(self) -> Mapping[str, Any]:
        """`body.measure` of the report: the numbers of the last test, averaged over its sets, and
        the parts of the last loss (contract 4.1)."""
        last = {name: self.live[name] for name in LAST if name in self.live}
        return {**averaged(self.measures), **self.losses, **last}

    def _take(self) -> dict[str, list[float]]:
        points, self._points = self._points, {}
        return points


def train(spec: TrainingSpec, wire: Wire, stop: threading.Event) -> None:
    """Load, train, report. Raises DDError, or what a library raises."""
    story = Story(wire)
    story.state("loading data")
    repository = Repository.open(Path(spec.repository))
    if spec.run:
        repository = repository.claimed(spec.run, spec.epoch)
    output = OutputParameters.parse(spec.parameters.output, "parameters.output", ParameterError)
    target = _target(spec, output.target_repository)
    mllib = spec.parameters.mllib
    connector = CONNECTORS.load(spec.connector)(spec.parameters.input, repository, spec.limits)
    data = connector.datasets([Path(path) for path in spec.data], mllib)
    story.state("loading model", data.warnings)
    setup = Setup(
        mllib=mllib,
        input=connector.parameters,
        repository=repository,
        dimensions=data.dimensions,
        weights=spec.weights,
        pretrained=pretrained(mllib, spec.limits),
        service_type=spec.service_type,
    )
    trainer = BACKENDS.load(spec.library).trainer(setup)
    progress = trainer.fit(data, mllib, output.measure, output.test_predictions)
    story.goes_on(trainer.history)
    finished = _fit(progress, story, stop)
    if finished and target is not None:
        repository.publish(target)
    status = JobStatus.FINISHED if finished else JobStatus.TERMINATED
    story.end(status, _report(spec, data), [*data.warnings, *trainer.warnings])


def _fit(progress: Iterator[Progress], story: Story, stop: threading.Event) -> bool:
    with closing(cast("Generator[Progress]", progress)) as iterations:
        while not stop.is_set():
            each = next(iterations, None)
            if each is None:
                return True
            story.add(each)
    return False


def _report(spec: TrainingSpec, data: Datasets) -> Json:
    return {
        "model": {"repository": spec.repository},
        "parameters": {"input": dict(data.learned)},
    }


def _target(spec: TrainingSpec, path: str) -> Repository | None:
    # Opened before the first iteration: a typing error must not cost a night's training.
    if not path:
        return None
    try:
        return Repository.open(spec.limits.roots.resolve(path), create=True)
    except OutsideRoots as error:
        raise ParameterError(f"target_repository: {error}") from error


def live_and_die_with(parent: int) -> None:
    """Have the kernel kill this process with its parent; elsewhere the pipe's end tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def watch(stdin: FileIO, stop: threading.Event) -> None:
    """Set `stop` when the parent says so, or when its end of the pipe is gone."""
    while (line := stdin.readline()) and line != STOP:
        pass
    stop.set()


def main(parent: int) -> int:
    """Run the training whose spec stands on stdin; 0 when it was told how that ended."""
    live_and_die_with(parent)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Ctrl-C reaches the whole terminal: what becomes of the training is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wire = Wire.over_stdout()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    stdin = FileIO(0, closefd=False)
    spec = TrainingSpec.from_json(orjson.loads(stdin.readline()))
    threading.Thread(target=watch, args=(stdin, stop), daemon=True).start()
    try:
        train(spec, wire, stop)
    except BrokenPipeError:
        return 1
    except Fenced as error:
        wire.send(error=InternalError(f"this training was given up: {error}").status())
    except Exception as error:
        wire.send(error=fault(error, "the training").status())
    return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stderr.flush()
    # Nothing is left to save, and taking torch apart costs seconds.
    os._exit(code)
