"""Following a training: who asks it to stop, how often, and what becomes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ddstream.api.envelope import Answer
from ddstream.api.job import JobStatus
from ddstream.api.train import JobQuery, JobStop
from ddstream.commands.workflow.events import Event, Events
from ddstream.commands.workflow.following import Following, failure
from ddstream.commands.workflow.history import NewPoints, Schedule
from ddstream.commands.workflow.interrupts import Interrupts
from ddstream.commands.workflow.options import TrainOptions
from ddstream.face.training_job import TrainingJob

KEEN, DEAF = "keen", "deaf"


class Desk:
    """Answers about one job, as an Api would: it ends when it is asked to, or only when killed.

    With each look at it, the next of `signals` is sent to this process.
    """

    def __init__(self, manner: str, signals: Sequence[signal.Signals | None]) -> None:
        self.manner = manner
        self.signals = list(signals)
        self.status = JobStatus.RUNNING
        self.looks = 0

    async def get_job(self, query: JobQuery) -> Answer:
        self.looks += 1
        head = {"method": "/train", "job": 1, "status": self.status, "time": float(self.looks)}
        stopping = {JobStatus.TERMINATING, *([JobStatus.CANCELLING] if self.manner == KEEN else [])}
        if self.status in stopping:
            self.status = JobStatus.TERMINATED
        hist = {"train_loss_hist": [1.0] * self.looks}
        return Answer(200, head, {"measure": {"iteration": self.looks}, "measure_hist": hist})

    async def delete_job(self, stop: JobStop) -> Answer:
        assert not stop.wait
        self.status = JobStatus.TERMINATING if stop.force else JobStatus.CANCELLING
        return Answer(200, {"method": "/train", "job": 1, "status": self.status})

    def ask(self, verb: Any) -> Any:
        """Run a verb, which waits for nothing here."""
        try:
            verb(self).send(None)
        except StopIteration as end:
            if self.signals and (number := self.signals.pop(0)) is not None:
                os.kill(os.getpid(), number)
            return end.value
        raise AssertionError


def follow(
    desk: Desk, tmp_path: Path, **options: Any
) -> tuple[Mapping[str, Any], list[Event], Following]:
    data = {"train_data": tmp_path, "test_data": tmp_path, "repository": tmp_path}
    told: list[Event] = []
    following = Following(
        TrainingJob(desk.ask, "service", 1),
        TrainOptions.of({**data, "poll_interval": 0.001, **options}),
        Events([told.append]),
        NewPoints(Schedule(100, 10)),
        "run",
    )
    return following.report(), told, following


INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.mark.promise("python.cli")
@pytest.mark.parametrize("number", [INT, TERM])
def test_the_first_interrupt_asks_it_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    report, told, following = follow(Desk(KEEN, [None, number]), tmp_path)
    assert report["status"] == "terminated"
    assert (following.cancelled, following.forced) == ("interrupt", "")
    said = [each for each in told if each["event"] == "training_status"]
    assert [each["status"] for each in said] == ["running", "running", "cancelling", "terminated"]
    assert "cancellation_reason" not in said[1]
    assert said[2]["cancellation_reason"] == said[3]["cancellation_reason"] == "interrupt"
    # What was measured until the end is told, once.
    points = [each["iteration"] for each in told if each["event"] == "metric"]
    assert points == [0, 1, 2, 3]


def test_the_second_interrupt_kills_it(tmp_path: Path) -> None:
    report, told, following = follow(Desk(DEAF, [INT, None, None, INT]), tmp_path)
    assert report["status"] == "terminated"
    assert (following.cancelled, following.forced) == ("interrupt", "interrupt")
    assert [each["status"] for each in told if "status" in each][-2:] == [
        "terminating",
        "terminated",
    ]
    assert told[-1]["force_reason"] == "interrupt"


def test_what_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    _, told, following = follow(Desk(DEAF, [INT]), tmp_path, cancel_timeout=0.05)
    assert (following.cancelled, following.forced) == ("interrupt", "cancel timeout")
    assert told[-1]["force_reason"] == "cancel timeout"


def test_a_training_that_takes_too_long_is_asked_to_stop(tmp_path: Path) -> None:
    report, told, following = follow(Desk(KEEN, []), tmp_path, timeout=0.02)
    assert report["status"] == "terminated"
    assert (following.cancelled, following.forced) == ("timeout", "")
    assert told[-1]["cancellation_reason"] == "timeout"


def test_an_interrupt_after_a_timeout_kills_it(tmp_path: Path) -> None:
    desk = Desk(DEAF, [None] * 4 + [INT])
    _, _, following = follow(desk, tmp_path, timeout=0.000001)
    assert (following.cancelled, following.forced) == ("timeout", "interrupt")


def test_the_third_interrupt_leaves_everything() -> None:
    before = signal.getsignal(INT)
    with Interrupts() as interrupts:
        for _ in range(2):
            os.kill(os.getpid(), INT)
            interrupts.wait(60)
        assert interrupts.count == 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), INT)
    assert signal.getsignal(INT) is before


def test_an_error_is_told_with_its_message() -> None:
    error = {"code": 500, "msg": "InternalError", "dd_code": 1007, "dd_msg": "it died"}
    assert failure({"status": "error", "Error": error}) == error
    assert failure({"status": "finished"}) == {}
