"""Lag in records and in seconds: what is known is told, what is not is absent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from prometheus_client import REGISTRY

from ddstream.stream.predicting import lag
from ddstream.stream.predicting.lag import LagMonitor

TOPIC = "lag.predict.x"


class Loop:
    """A loop whose partitions stand where a test says."""

    topic = TOPIC

    def __init__(self) -> None:
        self.at: list[tuple[int, int, int | None]] = [(0, 0, None)]
        self.end: Mapping[int, int] = {0: 0}
        self.away = False
        self.hangs = False

    def positions(self) -> list[tuple[int, int, int | None]]:
        return self.at

    async def ends(self) -> dict[TopicPartition, int]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise KafkaConnectionError("no broker")
        return {TopicPartition(TOPIC, number): end for number, end in self.end.items()}


def records(partition: int = 0) -> float | None:
    labels = {"topic": TOPIC, "partition": str(partition)}
    return REGISTRY.get_sample_value("ddstream_lag_records", labels)


def seconds(partition: int = 0) -> float | None:
    labels = {"topic": TOPIC, "partition": str(partition)}
    return REGISTRY.get_sample_value("ddstream_lag_seconds", labels)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
async def monitor(loop: Loop) -> AsyncIterator[LagMonitor]:
    monitor = LagMonitor(lambda: [loop])
    yield monitor
    await monitor.stop()


async def test_who_has_answered_all_is_not_behind(monitor: LagMonitor) -> None:
    await monitor.measure()
    assert (records(), seconds()) == (0, 0)


async def test_lag_is_the_distance_to_the_end_and_the_age_of_the_oldest(
    monitor: LagMonitor, loop: Loop
) -> None:
    loop.at = [(0, 40, int((time.time() - 30) * 1000)), (2, 5, None)]
    loop.end = {0: 100, 1: 7, 2: 5}
    await monitor.measure()
    assert records() == 60
    age = seconds()
    assert age is not None
    assert 30 <= age < 60
    assert (records(1), seconds(1)) == (None, None)
    assert (records(2), seconds(2)) == (0, 0)


async def test_records_that_nobody_takes_grow_old_too(monitor: LagMonitor, loop: Loop) -> None:
    loop.end = {0: 3}
    await monitor.measure()
    assert (records(), seconds()) == (3, 0)
    await asyncio.sleep(0.05)
    await monitor.measure()
    age = seconds()
    assert age is not None
    assert age >= 0.05
    loop.at = [(0, 1, None)]
    await monitor.measure()
    assert (records(), seconds()) == (2, 0)


async def test_a_clock_that_is_ahead_makes_no_negative_age(monitor: LagMonitor, loop: Loop) -> None:
    loop.at, loop.end = [(0, 5, int((time.time() + 60) * 1000))], {0: 4}
    await monitor.measure()
    assert (records(), seconds()) == (0, 0)


async def test_a_partition_that_went_elsewhere_has_no_series(
    monitor: LagMonitor, loop: Loop
) -> None:
    await monitor.measure()
    loop.at = []
    await monitor.measure()
    assert (records(), seconds()) == (None, None)


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_without_a_broker_only_what_is_taken_is_known(
    monitor: LagMonitor, loop: Loop, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "ANSWER_SECONDS", 0.05)
    await monitor.measure()
    setattr(loop, how, True)
    loop.at = [(0, 0, int((time.time() - 9) * 1000)), (1, 0, None)]
    await monitor.measure()
    assert records() is None
    age = seconds()
    assert age is not None
    assert age >= 9
    assert (records(1), seconds(1)) == (None, None)


async def test_at_the_end_the_series_go(loop: Loop) -> None:
    monitor = LagMonitor(lambda: [loop])
    monitor.start()
    async with asyncio.timeout(10):
        while records() is None:  # noqa: ASYNC110 - the gauge has no event for it
            await asyncio.sleep(0.01)
    await monitor.stop()
    assert (records(), seconds()) == (None, None)
