"""A broker that dies: its clients are stopped in bounded time, with what they could not write."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from ddstream.settings import Settings
from ddstream.stream.connection import STOP_SECONDS, Connection, started, stopped
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaProgram
from tests.kafka.test_broker import create_topic


async def test_a_producer_with_unwritten_records_stops_though_its_broker_is_dead(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    async with LocalBroker(kafka_program, tmp_path, options=BrokerOptions(heap="256m")) as broker:
        await create_topic(broker.bootstrap, "goodbye")
        connection = Connection(Settings(bootstrap=broker.bootstrap))
        producer = connection.producer()
        await started(producer)
        await producer.send_and_wait("goodbye", b"written")
        os.kill(broker.pid, signal.SIGKILL)
        await broker.exited()
        unwritten = await producer.send("goodbye", b"unwritten")
        async with asyncio.timeout(3 * STOP_SECONDS):
            await stopped(producer)
        assert not unwritten.done() or unwritten.exception()
