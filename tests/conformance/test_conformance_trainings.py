"""Every Api: trainings that are waited for, followed, stopped, and predicted beside."""

from __future__ import annotations

import pytest

from ddstream.errors import InputError, JobNotFound, ParameterError, TrainPredictConflict
from tests.conformance.calls import Desk

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

ENDLESS = 1_000_000


@pytest.mark.promise("train.blocking", "train.service", "train.data", "train.output.measure")
async def test_a_blocking_training_answers_with_its_report(desk: Desk) -> None:
    await desk.create()
    answer = await desk.train(blocking=True)
    assert answer.code == 201
    assert answer.head["method"] == "/train"
    assert answer.head["time"] >= 0
    assert "job" not in answer.head
    assert answer.body["measure"]["iteration"] == 4
    assert 0 <= answer.body["measure"]["acc"] <= 1
    assert answer.body["model"]["repository"] == str(desk.repository)
    service = (await desk.api.get_service(desk.name, labels=True)).body
    assert (service["training"], service["jobs"]) == (False, [])
    assert service["labels"] == [str(digit) for digit in range(10)]
    with pytest.raises(JobNotFound):
        await desk.job(1)
    # Nobody was told of a number, so the first job that is told of has the first one.
    assert (await desk.train(iterations=ENDLESS, resume=True)).head["job"] == 1
    assert (await desk.stop()).head["job"] == 1


@pytest.mark.promise(
    "train.async",
    "train.report",
    "train.get.service",
    "train.get.job",
    "train.get.timeout",
    "train.get.parameters.output.measure_hist",
    "train.get.parameters.output.max_hist_points",
)
async def test_the_report_of_an_asynchronous_training_is_read_once(desk: Desk) -> None:
    await desk.create()
    started = await desk.train()
    assert started.code == 201
    assert dict(started.head) | {"warnings": []} == {
        "method": "/train",
        "job": 1,
        "status": "running",
        "warnings": [],
    }
    live = await desk.job()
    assert live.head["status"] == "running"
    (line,) = (await desk.api.get_service(desk.name)).body["jobs"]
    assert (line["job"], line["status"]) == (1, "running")
    output = {"output": {"measure_hist": True, "max_hist_points": 2}}
    final = await desk.job(timeout=100, parameters=output)
    assert final.head["status"] == "finished"
    assert final.body["measure"]["iteration"] == 4
    assert final.body["sname"] == desk.name
    assert len(final.body["measure_hist"]["train_loss_hist"]) == 2
    assert final.body["measure_sampling"]["train_loss_sampling"] == 2
    with pytest.raises(JobNotFound):
        await desk.job()


@pytest.mark.promise("train.delete.service", "train.delete.job", "errors.code.1008")
async def test_a_stopped_training_is_terminated_and_another_goes_on_from_it(desk: Desk) -> None:
    await desk.create()
    await desk.train(iterations=ENDLESS)
    with pytest.raises(TrainPredictConflict):
        await desk.predict([str(desk.images[0])])
    await until_training(desk)
    stopped = await desk.stop()
    assert stopped.head["status"] == "terminated"
    assert stopped.head["job"] == 1
    assert list(desk.repository.glob("checkpoint-*"))
    with pytest.raises(JobNotFound):
        await desk.job()
    with pytest.raises(ParameterError, match="solverstate"):
        await desk.train(blocking=True)
    again = await desk.train(iterations=ENDLESS, resume=True)
    beside = await desk.predict([str(desk.images[0])])
    assert len(beside.body["predictions"]) == 1
    number = again.head["job"]
    stopping = await desk.stop(number, wait=False)
    assert stopping.head["status"] == "cancelling"
    assert (await desk.job(number, timeout=60)).head["status"] == "terminated"


async def until_training(desk: Desk) -> None:
    while "train_loss" not in (live := await desk.job(timeout=1)).body["measure"]:
        assert live.head["status"] == "running", live.json()


async def test_a_service_that_is_deleted_takes_its_training_along(desk: Desk) -> None:
    await desk.create()
    await desk.train(iterations=ENDLESS)
    await desk.api.delete_service(desk.name, "dir")
    assert not desk.repository.exists()
    await desk.create()
    assert (await desk.api.get_service(desk.name)).body["jobs"] == []
    assert (await desk.train(iterations=ENDLESS)).head["job"] == 1
    assert (await desk.stop(force=True)).head["status"] == "terminated"


@pytest.mark.promise("errors.code.1003")
async def test_a_job_that_is_not_there_is_named_in_the_error(desk: Desk) -> None:
    await desk.create()
    for asking in (desk.job(7), desk.stop(7)):
        with pytest.raises(JobNotFound) as unknown:
            await asking
        assert unknown.value.head == {"method": "/train", "job": 7}
    with pytest.raises(JobNotFound):
        await desk.job(None)


async def test_a_training_of_impossible_data_fails(desk: Desk) -> None:
    await desk.create()
    (desk.folder / "train-empty").mkdir(exist_ok=True)
    body = desk.folder / "train-empty"
    with pytest.raises((InputError, ParameterError)):
        await desk.train_on([str(body)], blocking=True)
    started = await desk.train_on([str(body)], blocking=False)
    ended = await desk.job(started.head["job"], timeout=60)
    assert ended.head["status"] == "error"
    assert ended.body["Error"]["dd_code"] in (1005, 1006)
