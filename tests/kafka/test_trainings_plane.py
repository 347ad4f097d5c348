"""Trainings between workers: handed over, taken over, stopped, and told of by one at a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from ddstream.api.envelope import Answer
from ddstream.api.job import JobRecord, JobStatus
from ddstream.api.parameters import envelope
from ddstream.api.stream import JobRow
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.errors import JobNotFound
from ddstream.stream import control
from ddstream.stream.client import KafkaApi
from ddstream.stream.trainings import trainings
from ddstream.stream.trainings.jobrows import job_key
from ddstream.stream.writer import Writer
from tests.kafka.jobhost import JobHost, Volume
from tests.kafka.plane import ECHO, Plane, body, eventually

pytestmark = pytest.mark.timeout(240)

HISTORY = {"output": {"measure_hist": True}}


async def train(api: KafkaApi, service: str = "x") -> int:
    request = envelope(TrainRequest, {"service": service, "data": ["nothing"]})
    return int((await api.train(request)).head["job"])


async def get(api: KafkaApi, number: int = 1, seconds: int = 0) -> Answer:
    query = {"service": "x", "job": number, "timeout": seconds, "parameters": HISTORY}
    return await api.get_job(envelope(JobQuery, query))


async def losses(api: KafkaApi, number: int = 1) -> list[float]:
    found: list[float] = (await get(api, number)).body["measure_hist"].get("train_loss_hist", [])
    return found


async def told(api: KafkaApi, count: int) -> None:
    """Wait until a bridge shows so many iterations of job 1."""

    async def check() -> bool:
        return await losses(api) == [float(n) for n in range(count)]

    await eventually(check)


async def delete(api: KafkaApi, number: int = 1, **query: Any) -> Answer:
    return await api.delete_job(envelope(JobStop, {"service": "x", "job": number, **query}))


async def left_behind(plane: Plane, **changes: Any) -> JobRow:
    """A job whose worker is dead: its row as that one would have left it."""
    rows = await plane.read(plane.topics.services, 1)
    born = body(rows[-1])["correlation_id"]
    request = {"service": "x", "data": ["nothing"]}
    record = JobRecord("x", 1, request=request, measure={"iteration": 7.0}).evolve(**changes)
    row = JobRow(
        number=1,
        partition=(await commands_of("x", plane)),
        chunks=0,
        born=born,
        holder="dead-worker",
        record=record.to_json(),
    )
    await Writer(plane.producer, plane.topics).write_beside(
        plane.topics.jobs, "x", job_key("x", 1), row.model_dump()
    )
    return row


async def commands_of(service: str, plane: Plane) -> int:
    """The partition of `train` that a service's commands go to."""
    sent = await plane.producer.send_and_wait(plane.topics.train, b"no command", service.encode())
    return int(sent.partition)


async def test_a_drained_worker_hands_its_training_over_with_its_checkpoint(plane: Plane) -> None:
    volume = Volume()
    first, second = JobHost(volume), JobHost(volume)
    api = await plane.bridge()
    worker = await plane.worker(first)
    await api.create_service("x", ECHO)
    assert await train(api) == 1
    first.advance("x", 1, 5)
    await told(api, 5)
    await plane.drain(worker)
    waiting = await get(api)
    assert waiting.head["status"] == "running"
    assert waiting.body["measure"]["state"] == "waiting"
    await plane.worker(second)
    await eventually(lambda: len(second.started) == 1)
    (again,) = second.started
    assert (again.number, again.epoch) == (1, 1)
    assert again.run == first.started[0].run
    second.advance("x", 1, 3)
    second.finish("x", 1)
    final = await get(api, seconds=60)
    assert final.head["status"] == "finished"
    assert final.body["measure_hist"]["train_loss_hist"] == [float(n) for n in range(8)]
    assert await train(api) == 2


async def test_a_report_larger_than_a_record_is_told_without_its_largest_parts(
    plane: Plane,
) -> None:
    host = JobHost()
    api = await plane.bridge()
    await plane.worker(host)
    await api.create_service("x", ECHO)
    await train(api)
    masks = [[0.5] * 1000] * (plane.settings.max_request_bytes // 3000)
    host.finish("x", 1, test_predictions=masks, measures=[{"acc": 0.5}])
    final = await get(api, seconds=60)
    assert final.head["status"] == "finished"
    assert final.body["measures"] == [{"acc": 0.5}]
    assert "test_predictions" in final.head["warnings"][0]


async def test_history_after_the_last_checkpoint_is_taken_back(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainings, "LEAVE_SECONDS", 0.5)
    volume = Volume()
    first, second = JobHost(volume, stubborn=True), JobHost(volume)
    api = await plane.bridge()
    worker = await plane.worker(first)
    await api.create_service("x", ECHO)
    await train(api)
    first.advance("x", 1, 2500, save=True)
    first.advance("x", 1, 2500)
    await told(api, 5000)
    # It saves nothing when it is asked to, and takes too long.
    await plane.drain(worker)
    await plane.worker(second)
    await eventually(lambda: len(second.started) == 1)
    await told(api, 2500)
    second.advance("x", 1, 10)
    await told(api, 2510)


async def test_a_dead_workers_training_goes_on_with_the_next_one(plane: Plane) -> None:
    api = await plane.bridge()
    worker = await plane.worker(JobHost())
    await api.create_service("x", ECHO)
    await plane.drain(worker)
    row = await left_behind(plane)
    host = JobHost()
    await plane.worker(host)
    await eventually(lambda: len(host.started) == 1)
    assert host.started[0].started == row.record["started"]
    assert host.started[0].epoch == 1
    host.advance("x", 1, 2)
    await told(api, 2)


@pytest.mark.parametrize("status", [JobStatus.CANCELLING, JobStatus.TERMINATING])
async def test_a_training_that_was_stopped_before_its_worker_died_does_not_go_on(
    plane: Plane, status: JobStatus
) -> None:
    api = await plane.bridge()
    worker = await plane.worker(JobHost())
    await api.create_service("x", ECHO)
    await plane.drain(worker)
    await left_behind(plane, status=status)
    host = JobHost()
    await plane.worker(host)
    ended = await get(api, seconds=60)
    assert ended.head["status"] == "terminated"
    assert host.started == []


async def test_a_training_between_owners_is_stopped_from_another_bridge(plane: Plane) -> None:
    api = await plane.bridge()
    worker = await plane.worker(JobHost())
    await api.create_service("x", ECHO)
    await plane.drain(worker)
    await left_behind(plane)
    other = await plane.bridge()
    assert (await get(other)).head["status"] == "running"
    stopping = asyncio.create_task(delete(other))
    host = JobHost()
    await plane.worker(host)
    assert (await stopping).head["status"] == "terminated"
    await eventually(lambda: not [s for s in host.started if (s.service, 1) not in host.stopped])
    with pytest.raises(JobNotFound):
        await get(other)
    await plane.worker(JobHost())
    with pytest.raises(JobNotFound):
        await delete(api)


async def test_any_bridge_stops_a_training(plane: Plane) -> None:
    host = JobHost()
    await plane.worker(host)
    async with KafkaApi(plane.connection) as first:
        await first.ready()
        await first.create_service("x", ECHO)
        await train(first)
    host.advance("x", 1, 3)
    api = await plane.bridge()
    await told(api, 3)
    stopped = await delete(api, wait=False)
    assert stopped.head["status"] in ("cancelling", "terminated")
    assert (await get(api, seconds=60)).head["status"] == "terminated"
    assert host.stopped == [("x", 1)]


async def test_a_worker_that_joins_ends_no_training_however_long_it_runs(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "POLL_INTERVAL_MS", 1500)
    first, second = JobHost(), JobHost()
    api = await plane.bridge()
    await plane.worker(first)
    services = [f"s{number}" for number in range(6)]
    for service in services:
        await api.create_service(service, ECHO)
        await train(api, service)
    began = time.monotonic()
    await plane.worker(second)
    await eventually(lambda: time.monotonic() - began > 3)
    assert first.stopped == second.stopped == []
    assert second.started == []
    for service in services:
        first.finish(service, 1)
    for service in services:
        query = envelope(JobQuery, {"service": service, "job": 1, "timeout": 60})
        assert (await api.get_job(query)).head["status"] == "finished"
    assert len(first.started) == len(services)


async def test_two_trainings_that_are_asked_for_at_once_have_two_numbers(plane: Plane) -> None:
    host = JobHost()
    await plane.worker(host)
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    assert sorted(await asyncio.gather(*(train(api) for _ in range(4)))) == [1, 2, 3, 4]


async def test_deleting_a_service_ends_its_training_and_a_namesake_starts_clean(
    plane: Plane,
) -> None:
    host = JobHost()
    await plane.worker(host)
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    await train(api)
    host.advance("x", 1, 3)
    await told(api, 3)
    await api.delete_service("x")
    assert host.stopped == [("x", 1)]
    await api.create_service("x", ECHO)
    with pytest.raises(JobNotFound):
        await get(api)
    assert await train(api) == 1
    assert await losses(api) == []


async def test_an_outdated_row_is_passed_over_and_written_over(plane: Plane) -> None:
    host = JobHost()
    api = await plane.bridge()
    worker = await plane.worker(JobHost())
    await api.create_service("x", ECHO)
    await plane.drain(worker)
    row = await left_behind(plane)
    await plane.worker(host)
    await eventually(lambda: len(host.started) == 1)
    host.advance("x", 1, 1)
    await told(api, 1)
    await Writer(plane.producer, plane.topics).write_beside(
        plane.topics.jobs, "x", job_key("x", 1), row.model_dump()
    )

    async def last_is_the_newer() -> bool:
        records = await plane.read(plane.topics.jobs, 3)
        epochs = [body(r)["epoch"] for r in records if r.key == b"x/1" and r.value]
        return epochs.count(0) == 2 and bool(epochs[-1] == 1)

    await eventually(last_is_the_newer)
    assert (await get(api)).head["status"] == "running"
