"""The local Kafka on the real thing: it answers, keeps its data, stops, and says why it failed."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ddstream.stream.local.broker import (
    BrokerFailedError,
    BrokerOptions,
    LocalBroker,
    kafka_down,
    kafka_up,
)
from ddstream.stream.local.home import KafkaProgram, KafkaSources
from ddstream.stream.local.process import pid_path, running_pid
from ddstream.stream.local.properties import BrokerUser

SMALL = BrokerOptions(heap="256m")


async def create_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()


async def produce(bootstrap: str, topic: str, value: bytes, **security: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **security) as producer:
        await producer.send_and_wait(topic, value)


async def consume(bootstrap: str, topic: str) -> bytes:
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        record = await asyncio.wait_for(consumer.getone(), 20)
    return bytes(record.value)


def in_a_process(*arguments: object) -> subprocess.Popen[str]:
    """`kafka_up` with these arguments in a Python of its own, as the command line runs it."""
    code = (
        "import sys; from pathlib import Path; from ddstream.settings import Settings\n"
        "from ddstream.stream.local.broker import kafka_up\n"
        "from ddstream.stream.local.home import KafkaSources\n"
        "kafka_up(KafkaSources.of(Settings()), Path(sys.argv[1]), 0, "
        "foreground=sys.argv[2] == 'foreground', announce=lambda text: print(text, flush=True))"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {name: text for name, text in os.environ.items() if name != "DDSTREAM_BOOTSTRAP"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def wait_for_end(handle: int) -> None:
    """Until a process has ended, by a handle that the kernel makes readable then."""
    assert select.select([handle], [], [], 20)[0]
    os.close(handle)


async def test_the_sessions_broker_takes_and_gives_a_record(kafka: str) -> None:
    await create_topic(kafka, "test-broker-echo")
    await produce(kafka, "test-broker-echo", b"hello")
    assert await consume(kafka, "test-broker-echo") == b"hello"


async def test_data_survives_a_restart_and_the_port_stays(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    broker = LocalBroker(kafka_program, tmp_path, options=SMALL)
    async with broker:
        first = broker.bootstrap
        await create_topic(broker.bootstrap, "kept")
        await produce(broker.bootstrap, "kept", b"before")
        assert running_pid(tmp_path) == broker.pid
    assert running_pid(tmp_path) is None
    assert not pid_path(tmp_path).exists()
    async with broker:
        assert broker.bootstrap == first
        assert await consume(broker.bootstrap, "kept") == b"before"


async def test_a_broker_killed_with_9_is_noticed_and_starts_again(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    broker = LocalBroker(kafka_program, tmp_path, options=SMALL)
    async with broker:
        os.kill(broker.pid, signal.SIGKILL)
        assert await asyncio.wait_for(broker.exited(), 10) == -signal.SIGKILL
    async with broker:
        assert running_pid(tmp_path) == broker.pid


async def test_a_taken_port_is_reported_with_the_logs_cause(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = LocalBroker(kafka_program, tmp_path, port, SMALL)
        with pytest.raises(BrokerFailedError, match=r"(?s)ended with 1;.*Address already in use"):
            await broker.start()
    assert running_pid(tmp_path) is None


async def test_a_broker_that_is_not_ready_in_time_is_stopped(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    broker = LocalBroker(kafka_program, tmp_path, options=BrokerOptions(start_limit=0.1))
    with pytest.raises(BrokerFailedError, match=r"not ready in 0\.1 s"):
        await broker.start()
    assert running_pid(tmp_path) is None


async def test_a_second_broker_in_the_same_folder_is_refused(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    async with LocalBroker(kafka_program, tmp_path, options=SMALL):
        with pytest.raises(BrokerFailedError, match="already runs in"):
            await LocalBroker(kafka_program, tmp_path, options=SMALL).start()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_users_are_let_in_by_their_password(sasl_broker: LocalBroker, mechanism: str) -> None:
    await create_topic(sasl_broker.bootstrap, mechanism)
    await produce(
        sasl_broker.sasl_bootstrap,
        mechanism,
        b"secret",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_plain_username="ann",
        sasl_plain_password="pass-word",
    )
    assert await consume(sasl_broker.bootstrap, mechanism) == b"secret"


@pytest.fixture(scope="module")
def sasl_broker(
    kafka_program: KafkaProgram, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalBroker]:
    options = BrokerOptions(heap="256m", users=(BrokerUser("ann", "pass-word"),))
    broker = LocalBroker(kafka_program, tmp_path_factory.mktemp("sasl"), options=options)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(broker.start())
        yield broker
        runner.run(broker.stop())


def test_up_leaves_a_broker_running_until_down(kafka_program: KafkaProgram, tmp_path: Path) -> None:
    with in_a_process(tmp_path, "background") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    try:
        assert running_pid(tmp_path)
        again: list[str] = []
        sources = KafkaSources(cache=tmp_path)
        assert kafka_up(sources, tmp_path, 0, announce=again.append) == said.strip()
        assert again == [said.strip()]
    finally:
        assert kafka_down(tmp_path)
    assert running_pid(tmp_path) is None
    assert not kafka_down(tmp_path)


def test_foreground_stays_until_sigterm_and_ends_with_0(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    with in_a_process(tmp_path, "foreground") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")
        broker = running_pid(tmp_path)
        assert broker
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert running_pid(tmp_path) is None


def test_a_tethered_broker_ends_with_a_parent_that_is_killed(
    kafka_program: KafkaProgram, tmp_path: Path
) -> None:
    with in_a_process(tmp_path, "foreground") as process:
        assert process.stdout is not None
        process.stdout.readline()
        broker = running_pid(tmp_path)
        assert broker
        handle = os.pidfd_open(broker)
        process.kill()
    wait_for_end(handle)
    assert running_pid(tmp_path) is None


def test_down_leaves_a_process_alone_that_is_not_the_broker(tmp_path: Path) -> None:
    pid_path(tmp_path).write_text(str(os.getpid()))
    assert not kafka_down(tmp_path)


def test_a_named_cluster_is_announced_and_nothing_starts(tmp_path: Path) -> None:
    said: list[str] = []
    sources = KafkaSources(cache=tmp_path / "cache", bootstrap="kafka.example:9092")
    assert kafka_up(sources, tmp_path / "data", 0, announce=said.append) == "kafka.example:9092"
    assert said == ["kafka.example:9092"]
    assert list(tmp_path.iterdir()) == []
