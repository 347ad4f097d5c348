"""The trainer process alone: what it writes, when it ends, with whom it dies."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from ddstream.api.job import JobRecord, JobStatus
from ddstream.connectors.protocol import Limits
from ddstream.engine.training import Training, TrainingSpec
from ddstream.fence import reached_by
from ddstream.repository import BEST, Repository
from ddstream.roots import Roots
from ddstream.settings import child_environment
from tests.engine.conftest import ENDLESS, MakeSpec

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(300)

PARENT = """
import asyncio, orjson, sys
from ddstream.api.job import JobRecord
from ddstream.engine.training import Training, TrainingSpec

async def main():
    spec = TrainingSpec.from_json(orjson.loads(sys.stdin.readline()))
    training = Training(spec, JobRecord(spec.service, spec.number))

    def tell(change):
        if "train_loss" in change.record.measure:
            print(training.pid, flush=True)

    await training.run(tell)

asyncio.run(main())
"""

NOISE = """
import os
from ddstream.engine.trainer import Wire
print("before", flush=True)
wire = Wire.over_stdout()
print("noise of a library", flush=True)
os.system("echo noise of a grandchild")
wire.send(measure={"loss": float("nan")})
"""


def environment() -> dict[str, str]:
    return child_environment(PYTHONPATH=os.pathsep.join(sys.path))


async def trainer(spec: TrainingSpec) -> Process:
    """A trainer of our own, told its spec."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ddstream.engine.trainer", str(os.getpid())),
        stdin=PIPE,
        stdout=PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    process.stdin.write(orjson.dumps(spec.to_json()) + b"\n")
    return process


async def first_iteration(process: Process) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        if "train_loss" in orjson.loads(line).get("measure", {}):
            return
    raise AssertionError("the trainer ended")


async def last_message(process: Process) -> Mapping[str, Any]:
    assert process.stdout is not None
    lines = (await process.stdout.read()).splitlines()
    await process.wait()
    message: dict[str, Any] = orjson.loads(lines[-1])
    return message


def test_what_libraries_print_does_not_reach_the_messages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOISE], capture_output=True, env=environment(), check=True
    )
    assert done.stdout.splitlines() == [b"before", b'{"measure":{"loss":null}}']
    assert b"noise of a library" in done.stderr
    assert b"noise of a grandchild" in done.stderr


async def test_the_trainer_stops_with_a_checkpoint_when_its_pipe_ends(
    spec: MakeSpec, repository: Path
) -> None:
    process = await trainer(spec(ENDLESS))
    await first_iteration(process)
    assert process.stdin is not None
    process.stdin.close()
    assert (await last_message(process))["status"] == "terminated"
    assert process.returncode == 0
    assert len(Repository(repository).checkpoints()) == 1


async def test_the_trainer_stops_with_a_checkpoint_on_sigterm(
    spec: MakeSpec, repository: Path
) -> None:
    process = await trainer(spec(ENDLESS))
    await first_iteration(process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert (await last_message(process))["status"] == "terminated"
    assert process.returncode == 0
    assert len(Repository(repository).checkpoints()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_the_trainer_dies_with_a_parent_that_is_killed(spec: MakeSpec, repository: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    with parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(orjson.dumps(spec(ENDLESS).to_json()) + b"\n")
        parent.stdin.flush()
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        poller = select.poll()
        poller.register(child, select.POLLIN)
        assert poller.poll(10_000), "the trainer lives on"
    finally:
        os.close(child)
    assert Repository(repository).checkpoints() == [], "an orphan wrote on"


def test_a_trainer_whose_parent_is_gone_already_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ddstream.engine.trainer", "1"],
        stdin=subprocess.DEVNULL,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1


@pytest.mark.promise("train.output.target_repository")
async def test_a_second_attempt_without_a_checkpoint_begins_anew_and_fills_the_target_repository(
    spec: MakeSpec, repository: Path, tmp_path: Path
) -> None:
    target = tmp_path / "published"
    over = {"output": {"target_repository": str(target)}}
    work = spec(over, run="digits/1", epoch=1)
    record = await Training(work, JobRecord("digits", 1)).run(lambda change: None)
    assert record.status is JobStatus.FINISHED, record.error
    assert reached_by("digits/1", repository) == 6
    best = Repository(repository).select("best")
    assert best is not None
    assert (target / best.weights.name).read_bytes() == best.weights.read_bytes()
    assert (target / BEST).exists()
    assert not list(target.glob("solver-*"))


async def test_a_target_repository_outside_the_roots_is_refused_before_the_training(
    spec: MakeSpec, repository: Path, digits: tuple[Path, Path]
) -> None:
    limits = Limits(Roots((repository, digits[0].parent)))
    work = spec({"output": {"target_repository": "/tmp"}}, limits=limits)
    record = await Training(work, JobRecord("digits", 1)).run(lambda change: None)
    assert record.error is not None
    assert record.error["dd_code"] == 1006
    assert "DDSTREAM_ROOTS" in record.error["dd_msg"]
    assert Repository(repository).checkpoints() == []


def test_a_spec_survives_its_way_through_the_pipe(spec: MakeSpec) -> None:
    given = spec(limits=Limits(Roots((Path("/data"),)), 99), run="a/1", epoch=2, weights="w")
    assert TrainingSpec.from_json(orjson.loads(orjson.dumps(given.to_json()))) == given
