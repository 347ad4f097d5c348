"""Jobs over real trainings: reports, queues, ends, and what a reader hears."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ddstream.api.job import (
    History,
    JobChange,
    JobRecord,
    JobStatus,
    blocking_answer,
    job_answer,
    job_line,
    started_answer,
)
from ddstream.engine.feed import JobFeed, JobState
from ddstream.engine.jobs import Jobs
from ddstream.engine.training import TrainingSpec
from ddstream.errors import JobNotFound, ParameterError
from ddstream.repository import METRICS, Repository
from tests.engine.conftest import ENDLESS, MakeSpec

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(300)


def start(jobs: Jobs, spec: TrainingSpec) -> None:
    about = {"sname": spec.service, "mltype": "classification", "description": ""}
    jobs.start(JobRecord(spec.service, spec.number, about=about), spec)


async def until_training(feed: JobFeed, number: int = 1) -> JobChange:
    async for change in feed:
        record = change.record
        if record.number == number and (record.status.ended or "train_loss" in record.measure):
            assert not record.status.ended, record.error
            return change
    raise AssertionError("the feed ended")


@pytest.mark.promise(
    "train.report",
    "train.async",
    "train.blocking",
    "train.get.job",
    "train.get.parameters.output.measure_hist",
    "train.get.parameters.output.max_hist_points",
    "train.torch.resume",
)
async def test_a_training_is_followed_reported_once_and_gone_on_with(
    jobs: Jobs, spec: MakeSpec, repository: Path
) -> None:
    assert jobs.next_number("digits") == 1
    feed = jobs.changes()
    start(jobs, spec())
    assert started_answer(jobs.get("digits", 1).record, []).head["status"] == "running"
    live = await until_training(feed)
    assert live.record.measure["state"] in ("training", "testing")
    await jobs.wait("digits", 1)
    first = jobs.take("digits", 1)
    check_report(first, repository)
    with pytest.raises(JobNotFound) as missing:
        jobs.get("digits", 1)
    assert missing.value.head == {"method": "/train", "job": 1}
    assert jobs.next_number("digits") == 2

    feed = jobs.changes()
    start(jobs, spec({"mllib": {"resume": True, "solver": {"iterations": 9}}}, number=2))
    second = await jobs.wait("digits", 2)
    assert second.record.status is JobStatus.FINISHED, second.record.error
    losses = second.history.series["train_loss"]
    assert losses[:6] == first.history.series["train_loss"]
    assert len(losses) == 9
    assert second.record.measure["iteration"] == 9
    told = await ended(feed, 2)
    assert [x for change in told for x in change.points.get("train_loss", [])] == losses
    sampled = job_answer(second.record, second.history, 4).body
    assert sampled["measure_hist"]["train_loss_hist"] == losses[::3]
    assert sampled["measure_sampling"]["train_loss_sampling"] == 3


def check_report(state: JobState, repository: Path) -> None:
    answer = job_answer(state.record, state.history, None).json()
    assert answer["head"]["status"] == "finished"
    body = answer["body"]
    assert body["measure"]["iteration"] == 6
    assert 0 <= body["measure"]["acc"] <= 1
    assert body["measure"]["train_loss"] > 0
    assert "state" not in body["measure"]
    assert [each["test_id"] for each in body["measures"]] == [0]
    assert body["model"] == {"repository": str(repository)}
    assert "input" in body["parameters"]
    assert body["sname"] == "digits"
    blocking = blocking_answer(state.record, state.history, None)
    assert (blocking.code, blocking.body) == (201, body)
    assert blocking.head["time"] >= 0
    losses = state.history.series["train_loss"]
    assert len(losses) == 6
    kept = Repository(repository).read_json(METRICS)
    assert kept["body"]["measure_hist"]["train_loss_hist"] == losses


async def ended(feed: JobFeed, number: int) -> list[JobChange]:
    changes = []
    async for change in feed:
        if change.record.number == number:
            changes.append(change)
            if change.record.status.ended:
                break
    return changes


@pytest.mark.promise("train.delete.job", "train.delete.service")
async def test_a_stopped_training_is_terminated_and_keeps_its_checkpoint(
    jobs: Jobs, spec: MakeSpec, repository: Path
) -> None:
    feed = jobs.changes()
    start(jobs, spec(ENDLESS))
    await until_training(feed)
    first = jobs.stop("digits", 1)
    assert first.status is JobStatus.CANCELLING
    record = await jobs.delete("digits", 1)
    assert record.status is JobStatus.TERMINATED
    assert record.error is None
    assert record.measure["iteration"] >= 0
    (checkpoint,) = Repository(repository).checkpoints()
    assert checkpoint.solver is not None
    with pytest.raises(JobNotFound):
        jobs.get("digits", 1)


@pytest.mark.promise("train.get.timeout")
async def test_waiting_ends_with_its_time_and_a_forced_stop_kills(
    jobs: Jobs, spec: MakeSpec, repository: Path
) -> None:
    feed = jobs.changes()
    start(jobs, spec(ENDLESS))
    await until_training(feed)
    state = await jobs.wait("digits", 1, 0.01)
    assert state.record.status is JobStatus.RUNNING
    record = await jobs.delete("digits", 1, wait=False, force=True)
    assert record.status is JobStatus.TERMINATING
    assert (await jobs.wait("digits", 1, 60)).record.status is JobStatus.TERMINATED
    assert jobs.take("digits", 1) is state
    assert Repository(repository).checkpoints() == []


@pytest.mark.promise("errors.code.1005", "errors.code.1007", "train.data")
async def test_trainings_of_one_service_wait_for_each_other_whatever_their_end(
    spec: MakeSpec, tmp_path: Path
) -> None:
    async with Jobs(restarts=0) as jobs:
        feed = jobs.changes()
        start(jobs, spec(ENDLESS))
        start(jobs, spec(ENDLESS, number=2))
        start(jobs, spec(number=3, data=[str(tmp_path / "nowhere")]))
        await until_training(feed)
        queued = jobs.get("digits", 2).record
        assert (queued.status, queued.measure) == (JobStatus.RUNNING, {})
        assert jobs.stop("digits", 2).status is JobStatus.TERMINATED
        assert jobs.training("digits")
        os.kill(child_of_ours(), signal.SIGKILL)
        await jobs.wait("digits", 3)
        killed, stopped, refused = jobs.of("digits")
    assert stopped.status is JobStatus.TERMINATED
    assert killed.error is not None
    assert killed.error["dd_code"] == 1007
    assert "SIGKILL" in killed.error["dd_msg"]
    assert job_line(killed)["status"] == "error"
    assert refused.error is not None
    assert refused.error["dd_code"] == 1005
    assert "nowhere" in refused.error["dd_msg"]
    body = job_answer(refused, History(), None).body
    assert body["Error"] == refused.error


def child_of_ours() -> int:
    """The trainer among our children, from /proc."""
    me = Path(f"/proc/{os.getpid()}/task")
    numbers = [int(n) for task in me.iterdir() for n in (task / "children").read_text().split()]
    (child,) = [n for n in numbers if b"trainer" in Path(f"/proc/{n}/cmdline").read_bytes()]
    return child


async def test_a_trainer_that_is_killed_is_followed_by_another_and_nothing_shows_it(
    jobs: Jobs, spec: MakeSpec, repository: Path, tmp_path: Path
) -> None:
    solver = {"solver": {"iterations": 14, "test_interval": 4, "snapshot": 3}, "dropout": 0.1}
    over = {"mllib": solver, "input": {"seed": 3, "shuffle": True}}
    start(jobs, spec(over))
    whole = await jobs.wait("digits", 1)
    broken = Repository.open(tmp_path / "broken", create=True)
    feed = jobs.changes()
    start(jobs, spec(over, number=2, repository=str(broken.path)))
    kills = [5, 11]
    async for change in feed:
        if change.record.number != 2:
            continue
        if change.record.status.ended:
            break
        if kills and change.record.measure.get("iteration", 0) >= kills[0]:
            os.kill(child_of_ours(), signal.SIGKILL)
            kills.pop(0)
    again = jobs.get("digits", 2)
    assert kills == []
    assert again.record.status is JobStatus.FINISHED, again.record.error
    assert again.record.measure == whole.record.measure
    assert again.record.report["measures"] == whole.record.report["measures"]
    expected, found = whole.history.series, again.history.series
    for name in ("train_loss", "learning_rate", "acc"):
        assert found[name] == expected[name]
    assert len(found["elapsed_time_ms"]) == 14
    assert _weights(broken) == _weights(Repository(repository))
    assert broken.best() == Repository(repository).best()
    assert set(_kept(broken)) == set(_kept(Repository(repository)))
    assert (
        broken.read_json(METRICS)["body"]["measure_hist"]["train_loss_hist"] == found["train_loss"]
    )


def _kept(repository: Repository) -> list[str]:
    return [file.name for file in repository.path.iterdir()]


def _weights(repository: Repository) -> bytes:
    return repository.checkpoints()[-1].weights.read_bytes()


async def test_a_trainer_that_dies_again_and_again_is_given_up_with_the_reason(
    spec: MakeSpec, repository: Path
) -> None:
    async with Jobs(restarts=1) as jobs:
        feed = jobs.changes()
        start(jobs, spec(ENDLESS))
        await until_training(feed)
        os.kill(child_of_ours(), signal.SIGSEGV)
        async for change in feed:
            # The next trainer takes back what the first one told.
            if change.whole:
                break
        await until_training(feed)
        os.kill(child_of_ours(), signal.SIGSEGV)
        record = (await jobs.wait("digits", 1)).record
    assert record.status is JobStatus.ERROR
    assert record.error is not None
    assert "SIGSEGV" in record.error["dd_msg"]


async def test_somebody_elses_sigterm_ends_no_job(jobs: Jobs, spec: MakeSpec) -> None:
    feed = jobs.changes()
    start(jobs, spec(ENDLESS))
    first = await until_training(feed)
    os.kill(child_of_ours(), signal.SIGTERM)
    async for change in feed:
        assert not change.record.status.ended
        if change.whole:
            break
    again = await until_training(feed)
    assert again.record.measure["iteration"] >= first.record.measure["iteration"]
    assert (await jobs.delete("digits", 1)).status is JobStatus.TERMINATED


async def test_a_training_that_has_not_begun_is_stopped_at_once(jobs: Jobs, spec: MakeSpec) -> None:
    feed = jobs.changes()
    start(jobs, spec(ENDLESS))
    async for change in feed:
        if change.record.measure.get("state") == "loading model":
            break
    assert jobs.stop("digits", 1).status is JobStatus.CANCELLING
    assert (await jobs.wait("digits", 1)).record.status is JobStatus.TERMINATED


async def test_forgetting_a_service_stops_its_trainings_and_numbers_start_again(
    jobs: Jobs, spec: MakeSpec
) -> None:
    start(jobs, spec(ENDLESS))
    start(jobs, spec(ENDLESS, number=2))
    await jobs.forget("digits")
    assert jobs.of("digits") == []
    assert not jobs.training("digits")
    assert jobs.next_number("digits") == 1


async def test_the_end_is_shown_after_the_hook_has_run(spec: MakeSpec) -> None:
    seen: list[JobStatus] = []

    async def hook(record: JobRecord) -> JobRecord:
        seen.append(jobs.get("digits", 1).record.status)
        jobs.stop("digits", 1)
        seen.append(jobs.get("digits", 1).record.status)
        return record.evolve(version=7)

    async with Jobs(hook) as jobs:
        start(jobs, spec(data=["/dev/null"]))
        record = (await jobs.wait("digits", 1)).record
    assert (record.status, record.version) == (JobStatus.ERROR, 7)
    assert seen == [JobStatus.RUNNING, JobStatus.RUNNING]


async def test_a_hook_that_fails_makes_the_job_an_error(spec: MakeSpec) -> None:
    async def hook(record: JobRecord) -> JobRecord:
        raise ParameterError("the weights do not load")

    async with Jobs(hook) as jobs:
        start(jobs, spec(data=["/dev/null"]))
        record = (await jobs.wait("digits", 1)).record
    assert record.error is not None
    assert record.error["dd_code"] == 1006


async def test_closing_saves_checkpoints_and_is_nobodys_news(
    spec: MakeSpec, repository: Path
) -> None:
    async with Jobs() as jobs:
        feed = jobs.changes()
        start(jobs, spec(ENDLESS))
        await until_training(feed)
    assert [change async for change in feed if change.record.status.ended] == []
    assert len(Repository(repository).checkpoints()) == 1
    assert jobs.get("digits", 1).record.status is JobStatus.TERMINATED
