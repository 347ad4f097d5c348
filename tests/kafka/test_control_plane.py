"""Services over topics: made once, known to all, gone for all; and starts without a broker."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from ddstream.api.predict import PredictRequest
from ddstream.api.protocol import Host
from ddstream.api.service import ServiceDefinition
from ddstream.errors import InputError, ParameterError, ServiceExists, ServiceNotFound
from ddstream.settings import Settings
from ddstream.stream.admin import apply_config, differences, ensure_topics
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from ddstream.stream.topics import NewTopic
from ddstream.stream.worker import Worker
from tests.kafka.echo import EchoHost
from tests.kafka.plane import ECHO, Plane, body, eventually, headers

JPEG = {"content-type": b"image/jpeg"}


async def test_a_service_is_made_once_and_its_second_creation_is_1014(plane: Plane) -> None:
    host = EchoHost()
    await plane.worker(host)
    api = await plane.bridge()
    assert (await api.create_service("My Service", ECHO)).code == 201
    with pytest.raises(ServiceExists):
        await api.create_service("my service", ECHO)
    assert list(host.services) == ["my service"]


async def test_a_service_that_does_not_load_leaves_nothing_behind(plane: Plane) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    with pytest.raises(ParameterError, match="only echoes"):
        await api.create_service("x", ServiceDefinition(mllib="torch"))
    assert (await api.info()).head["services"] == []
    async with plane.connection.admin() as admin:
        assert plane.topics.predict("x") not in await admin.list_topics()
    assert (await api.create_service("x", ECHO)).code == 201


async def test_the_same_creation_again_gets_the_first_answer(plane: Plane) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    value = orjson.dumps(
        {"verb": "create", "service": "x", "definition": ECHO.model_dump(by_alias=True)}
    )
    asked = [
        ("correlation_id", b"once"),
        ("reply_to", plane.topics.replies(api.id).encode()),
    ]
    for _ in range(2):
        await plane.producer.send_and_wait(plane.topics.control, value, b"x", headers=asked)
    replies = await plane.read(plane.topics.replies(api.id), 2)
    assert [body(reply)["status"]["code"] for reply in replies] == [201, 201]


async def test_a_later_bridge_knows_the_services_before_it_is_ready(plane: Plane) -> None:
    await plane.worker(EchoHost())
    await (await plane.bridge()).create_service("x", ECHO)
    later = await plane.bridge()
    assert [s["name"] for s in (await later.info()).head["services"]] == ["x"]
    answer = await later.predict(PredictRequest(service="x", data=["a"]))
    assert answer.body["predictions"] == [{"uri": "a"}]


async def test_a_restarted_worker_serves_what_was_created_before(plane: Plane) -> None:
    first = await plane.worker(EchoHost())
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    await plane.drain(first)
    await plane.send("x", b"1", JPEG)
    second = EchoHost()
    await plane.worker(second)
    await plane.results("x", 1)
    assert list(second.services) == ["x"]


async def test_a_service_is_gone_for_all_workers_and_a_new_one_starts_clean(plane: Plane) -> None:
    first, second = EchoHost(), EchoHost()
    await plane.worker(first)
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    await plane.worker(second)
    await eventually(lambda: "x" in second.services)
    await plane.send("x", b"1", JPEG)
    await plane.results("x", 1)
    assert (await api.delete_service("X", "full")).code == 200
    await eventually(lambda: not first.services and not second.services)
    # One worker clears the files, the others only forget.
    assert sorted(first.unloaded + second.unloaded) == [("x", "full"), ("x", "mem")]
    with pytest.raises(ServiceNotFound):
        await api.delete_service("x")
    await api.create_service("x", ECHO)
    assert await plane.ends(plane.topics.predict("x")) == 0
    answer = await api.predict(PredictRequest(service="x", data=["a"]))
    assert answer.body["predictions"] == [{"uri": "a"}]


class Picky(EchoHost):
    """Cannot load what others made, as a worker without the shared volume."""

    async def load(self, name: str, definition: ServiceDefinition, *, create: bool) -> Any:
        raise InputError("no such volume here")


async def test_a_worker_that_cannot_load_a_service_says_so_and_the_others_serve(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    worker = Worker(_host(Picky()), plane.connection)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: _unwell(worker, "service x failed to load"))
    heartbeats = await plane.read(plane.topics.workers, 3)
    assert "no such volume" in str([body(beat) for beat in heartbeats if beat.value])
    answer = await api.predict(PredictRequest(service="x", data=["a"]))
    assert answer.code == 200
    worker.stop()
    await running


def _host(host: EchoHost) -> Host:
    return host


async def _unwell(worker: Worker, reason: str) -> bool:
    return any(reason in line for line in await worker.health())


async def test_a_drained_worker_takes_its_heartbeat_away(plane: Plane) -> None:
    worker = await plane.worker(EchoHost())
    beats = await plane.read(plane.topics.workers, 1)
    assert body(beats[0])["worker"] == worker.id
    await plane.drain(worker)
    last = (await plane.read(plane.topics.workers, 2))[-1]
    assert (last.key, last.value) == (worker.id.encode(), None)


async def test_an_unreadable_command_is_answered_and_does_not_stop_the_plane(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    asked = [
        ("correlation_id", b"bad"),
        ("reply_to", plane.topics.replies(api.id).encode()),
    ]
    await plane.producer.send_and_wait(plane.topics.control, b"{no", b"x", headers=asked)
    (reply,) = await plane.read(plane.topics.replies(api.id), 1)
    assert (body(reply)["status"]["code"], headers(reply)["correlation_id"]) == (400, b"bad")
    assert (await api.create_service("x", ECHO)).code == 201


async def test_worker_and_bridge_wait_for_a_broker_that_is_away_and_say_so() -> None:
    connection = Connection(Settings(bootstrap="127.0.0.1:1"))
    worker = Worker(EchoHost(), connection)
    running = asyncio.create_task(worker.run())
    async with KafkaApi(connection) as api:
        await asyncio.sleep(0)
        assert "broker" in (await worker.health())[0]
        assert "broker" in (await api.health())[0]
    worker.stop()
    await asyncio.wait_for(running, 30)


async def test_topics_apply_mends_what_diff_shows(plane: Plane) -> None:
    fixed = plane.topics.fixed()
    assert all("missing" in line for line in await differences(plane.connection, fixed))
    await ensure_topics(plane.connection, fixed)
    assert await differences(plane.connection, fixed) == []
    changed = plane.settings.model_copy(update={"max_request_bytes": 2 << 20})
    wanted = type(plane.topics)(changed).fixed()
    assert any("max.message.bytes" in line for line in await differences(plane.connection, wanted))
    await apply_config(plane.connection, wanted)
    await eventually(lambda: _as_wanted(plane, wanted))


async def _as_wanted(plane: Plane, wanted: list[NewTopic]) -> bool:
    # A broker takes a moment to show a configuration that it has accepted.
    return await differences(plane.connection, wanted) == []
