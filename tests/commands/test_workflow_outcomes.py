"""How a workflow ends: what is said, the exit code, and what stands in the run's folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
import typer

from ddstream.commands.workflow.events import Event
from ddstream.commands.workflow.options import Unavailable
from ddstream.commands.workflow.outcomes import outcomes
from ddstream.commands.workflow.said import Said, training
from ddstream.commands.workflow.train import Run
from ddstream.errors import ParameterError
from ddstream.face.failures import DeepDetectError
from tests.commands.conftest import Command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("iterations must be positive"), 1, "ValueError: iterations must be positive"),
        (Unavailable("there is none"), 2, "error: there is none"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            DeepDetectError(ParameterError("no such thing")),
            1,
            "DeepDetect error: status=400 dd_code=1006 "
            "message=Service Bad Request Error: no such thing",
        ),
    ],
)
@pytest.mark.usefixtures("deepdetect")
def test_each_end_has_its_code_and_its_words(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, outcomes():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == f"{said}\n"


class Impatient:
    """Presses Ctrl-C when the data are being looked at."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.told.append(event)
        if event["event"] == "dataset_check":
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler of SIGINT: a shell's background jobs are started without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.promise("python.cli")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_before_the_training_is_a_cancelled_run(
    tmp_path: Path, deepdetect: Command
) -> None:
    (tmp_path / "data" / "cat").mkdir(parents=True)
    assert cv2.imwrite(str(tmp_path / "data" / "cat" / "one.png"), np.zeros((8, 8, 3), np.uint8))
    data, model = tmp_path / "data", tmp_path / "runs"
    flags = {"train_data": data, "test_data": data, "repository": model, "run_name": "one"}
    profile, options = training(Said("resnet18", None, {**flags, "job_dir": model}, ()))
    view = Impatient()
    with pytest.raises(typer.Exit) as ended, outcomes():
        Run(profile, options, 0, view)()
    assert ended.value.exit_code == 130
    assert [event["event"] for event in view.told][-1] == "run_finished"
    run = orjson.loads((model / "one" / "run.json").read_bytes())
    assert (run["status"], run["last_status"]["status"]) == ("cancelled", "cancelled")
    assert orjson.loads(deepdetect("job", "status", model / "one").out)["status"] == "cancelled"
