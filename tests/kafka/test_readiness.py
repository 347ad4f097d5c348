"""Readiness that does not lie: each reason on a real broker, which is frozen, killed, restarted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import REGISTRY

from ddstream.api.envelope import Json
from ddstream.api.predict import Call
from ddstream.api.service import ServiceDefinition
from ddstream.errors import InternalError
from ddstream.settings import Settings
from ddstream.stream import table as table_module
from ddstream.stream.connection import Connection
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaProgram
from ddstream.stream.pulse import SILENT_SECONDS, Pulse, Turning
from ddstream.stream.table import Table
from ddstream.stream.worker import Worker
from tests.kafka.commands import command
from tests.kafka.echo import EchoHost, echo
from tests.kafka.plane import ECHO, Plane, eventually

NOTICED = SILENT_SECONDS + 9.0
"""Seconds in which a broker that went away must be noticed, on a machine that is busy."""


@pytest.fixture
async def own(kafka_program: KafkaProgram, tmp_path: Path) -> AsyncIterator[LocalBroker]:
    """A broker that a test may freeze and kill."""
    broker = LocalBroker(kafka_program, tmp_path / "kafka", options=BrokerOptions(heap="256m"))
    await broker.start()
    yield broker
    if broker.pid:
        os.kill(broker.pid, signal.SIGCONT)
    await broker.stop()


@pytest.fixture
def at_own(own: LocalBroker, settings: Settings) -> Settings:
    """Settings for that broker."""
    return settings.model_copy(update={"bootstrap": own.bootstrap})


async def becomes(
    health: Callable[[], Awaitable[Sequence[str]]], wanted: Callable[[Sequence[str]], bool]
) -> float:
    """Seconds until a health is as wanted; asking it never takes long."""
    began = time.monotonic()
    told: Sequence[str] = ()

    async def check() -> bool:
        nonlocal told
        async with asyncio.timeout(2):
            told = await health()
        return wanted(told)

    try:
        await eventually(check)
    except TimeoutError:
        raise AssertionError(f"at last it says {told}") from None
    return time.monotonic() - began


def away(reasons: Sequence[str]) -> bool:
    return any("has not answered for" in reason for reason in reasons)


def well(reasons: Sequence[str]) -> bool:
    return not reasons


@pytest.mark.timeout(240)
async def test_a_frozen_or_killed_broker_is_noticed_and_its_return_too(
    own: LocalBroker, at_own: Settings
) -> None:
    async with Plane(at_own) as plane:
        worker = await plane.worker(EchoHost())
        bridge = await plane.bridge()
        await bridge.create_service("x", ECHO)
        await becomes(worker.health, well)
        os.kill(own.pid, signal.SIGSTOP)
        assert await becomes(worker.health, away) < NOTICED
        assert await becomes(bridge.health, away) < NOTICED
        os.kill(own.pid, signal.SIGCONT)
        await becomes(worker.health, well)
        await becomes(bridge.health, well)
        os.kill(own.pid, signal.SIGKILL)
        await own.exited()
        assert await becomes(worker.health, away) < NOTICED
        assert await becomes(bridge.health, away) < NOTICED
        await own.start()
        await becomes(worker.health, well)
        await becomes(bridge.health, well)
        await plane.send("x", b'{"data": ["a"]}')
        await plane.results("x", 1)


@pytest.mark.timeout(240)
async def test_the_probes_of_processes_turn_with_the_broker(
    own: LocalBroker, at_own: Settings
) -> None:
    async with (
        command(at_own, "worker", "--http-port", "0", "--log-format", "json") as worker,
        command(at_own, "bridge", "--port", "0") as bridge,
        aiohttp.ClientSession() as session,
    ):
        urls = [
            await worker.says(r"probes at (http\S+)"),
            await bridge.says(r"serving (http[^,]+)"),
        ]

        async def reasons() -> list[str]:
            """Those of whichever is the last to be well, or the first to be unwell."""
            told: list[list[str]] = []
            for url in urls:
                async with session.get(f"{url}/readyz") as answer:
                    body = await answer.json()
                    assert answer.status == (503 if body["reasons"] else 200)
                    told.append(body["reasons"])
                async with session.get(f"{url}/livez") as answer:
                    assert answer.status == 200
            return min(told, key=len) if wanted is away else max(told, key=len)

        wanted: Callable[[Sequence[str]], bool] = well
        await becomes(reasons, well)
        os.kill(own.pid, signal.SIGSTOP)
        wanted = away
        assert await becomes(reasons, away) < NOTICED
        await worker.says('"message": "Kafka at .* has not answered for')
        os.kill(own.pid, signal.SIGCONT)
        wanted = well
        await becomes(reasons, well)
        await worker.says('"message": "Kafka at .* answers again"')
        assert await worker.end() == 0
        assert await bridge.end() == 0
    events = [json.loads(line) for line in worker.lines if line.startswith("{")]
    assert len(events) >= len(worker.lines) - 2
    assert {"time", "level", "logger", "message"} <= events[0].keys()


async def test_a_consumer_without_an_assignment_is_a_reason(plane: Plane) -> None:
    worker = await plane.worker(EchoHost())
    bridge = await plane.bridge()
    seen: set[str] = set()

    async def watch() -> None:
        while True:
            seen.update(await worker.health())
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await bridge.create_service("x", ECHO)
    await becomes(worker.health, well)
    watching.cancel()
    assert any("has not been assigned" in reason for reason in seen), seen


async def test_a_worker_without_partitions_stands_by_and_says_so(settings: Settings) -> None:
    async with Plane(settings.model_copy(update={"partitions": 1})) as plane:
        workers = [await plane.worker(EchoHost())]
        bridge = await plane.bridge()
        await bridge.create_service("x", ECHO)
        workers.append(await plane.worker(EchoHost()))

        async def told() -> list[str]:
            reasons = [reason for worker in workers for reason in await worker.health()]
            return reasons + [note for worker in workers for note in worker.notes()]

        note = "service x: no partition is assigned, other workers have them all"
        await becomes(told, lambda lines: lines == [note])


class Failing(EchoHost):
    """Cannot load."""

    async def load(self, name: str, definition: ServiceDefinition, *, create: bool) -> Json:
        raise InternalError("the weights are gone")


async def test_a_model_that_failed_to_load_is_a_reason(plane: Plane) -> None:
    await plane.worker(EchoHost())
    bridge = await plane.bridge()
    await bridge.create_service("x", ECHO)
    worker = Worker(Failing(), plane.connection)
    running = asyncio.create_task(worker.run())
    await becomes(worker.health, lambda told: any("service x failed to load" in r for r in told))
    assert "the weights are gone" in str(await worker.health())
    worker.stop()
    await running


class Hanging(EchoHost):
    """Its device is lost, once it is told so."""

    lost = ""

    def fatal(self) -> str:
        return self.lost


async def test_an_engine_that_cannot_be_trusted_is_a_reason(plane: Plane) -> None:
    host = Hanging()
    worker = await plane.worker(host)
    host.lost = "service x: a forward pass takes more than 60 s"
    assert await worker.health() == [host.lost]
    host.lost = ""


async def test_who_drains_is_not_ready_and_answers_what_it_has(plane: Plane) -> None:
    held: list[Call] = []
    worker = Worker(EchoHost(held.append), plane.connection)
    running = asyncio.create_task(worker.run())
    bridge = await plane.bridge()
    await bridge.create_service("x", ECHO)
    await becomes(worker.health, well)
    await plane.send("x", b'{"data": ["a"]}')
    await eventually(lambda: len(held) == 1)
    worker.stop()
    assert await worker.health() == ["draining"]
    await asyncio.sleep(0.1)
    assert not running.done()
    assert await worker.health() == ["draining"]
    echo(held[0])
    await running
    await plane.results("x", 1)


async def test_a_bridge_without_workers_is_ready_with_a_note(plane: Plane) -> None:
    bridge = await plane.bridge()
    assert await bridge.health() == []
    assert bridge.notes() == ["no live worker: requests wait for one"]
    await plane.worker(EchoHost())
    await eventually(lambda: bridge.notes() == [])


async def test_a_process_that_waits_for_its_broker_says_so() -> None:
    nowhere = Connection(Settings(bootstrap="127.0.0.1:1"))
    worker = Worker(EchoHost(), nowhere)
    running = asyncio.create_task(worker.run())
    assert await worker.health() == ["starting: waiting for the broker"]
    assert worker.notes() == []
    worker.stop()
    await running


async def test_a_table_that_stands_still_is_a_reason(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plane.worker(EchoHost())
    monkeypatch.setattr(table_module, "LATE_SECONDS", 1.5)
    hanging, release = asyncio.Event(), asyncio.Event()

    async def hang(key: str, row: Json | None) -> None:
        hanging.set()
        await release.wait()

    table = Table(plane.connection, plane.topics.workers, hang)
    assert "has not been read to its end" in table.problem
    await table.start()
    await hanging.wait()
    release.set()
    await table.caught_up.wait()
    release.clear()
    hanging.clear()
    await hanging.wait()
    await eventually(lambda: "has not been polled for" in table.problem)
    release.set()
    await eventually(lambda: table.problem == "")
    await table.stop()


async def test_a_table_without_its_topic_is_a_reason(plane: Plane) -> None:
    table = Table(plane.connection, f"{plane.settings.prefix}.nothing")
    await table.start()
    await eventually(lambda: "its topic does not exist" in table.problem)
    await table.stop()


async def test_a_control_plane_that_takes_nothing_is_a_reason(plane: Plane) -> None:
    worker = await plane.worker(EchoHost())
    assert worker._control.problem == ""
    await worker._control.stop()
    assert "the consumer of" in worker._control.problem


async def test_the_lag_of_a_worker_is_told_and_goes_with_it(plane: Plane) -> None:
    def lag(name: str) -> float | None:
        labels = {"topic": plane.topics.predict("x"), "partition": "0"}
        return REGISTRY.get_sample_value(f"ddstream_lag_{name}", labels)

    held: list[Call] = []
    worker = Worker(EchoHost(held.append), plane.connection)
    running = asyncio.create_task(worker.run())
    bridge = await plane.bridge()
    await bridge.create_service("x", ECHO)
    for _ in range(4):
        await plane.send("x", b'{"data": ["a"]}', partition=0)
    await eventually(lambda: lag("records") == 4)
    await eventually(lambda: (lag("seconds") or 0) > 1)
    for call in held:
        echo(call)
    await eventually(lambda: (lag("records"), lag("seconds")) == (0, 0))
    worker.stop()
    await running
    assert (lag("records"), lag("seconds")) == (None, None)


async def test_the_pulse_knows_in_its_own_time(own: LocalBroker, at_own: Settings) -> None:
    pulse = Pulse(Connection(at_own), silent=2.0)
    assert pulse.problem == ""
    pulse.start()
    await asyncio.sleep(3)
    assert pulse.problem == ""
    os.kill(own.pid, signal.SIGSTOP)
    await eventually(lambda: pulse.problem != "")
    os.kill(own.pid, signal.SIGCONT)
    await eventually(lambda: pulse.problem == "")
    await pulse.stop()


async def test_a_loop_that_does_not_turn_is_late() -> None:
    turning = Turning("the loop", 0.05)
    assert turning.problem == ""
    turning.turned()
    assert turning.problem == ""
    await asyncio.sleep(0.1)
    assert turning.problem == "the loop has not been polled for 0 s"
    turning.turned()
    assert turning.problem == ""
