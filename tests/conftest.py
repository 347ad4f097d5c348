"""What all tests share: the promise marker, and one real Kafka a session, started at first use."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ddstream.settings import Settings
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaProgram, KafkaSources, find_kafka

pytest_plugins = ["tests.contracts.plugin"]

SMALL = BrokerOptions(heap="320m")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="give lessons in their long form")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"kafka", "kafka_program"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # What hostile tests log must still reach the process that gathers the reports.
    report.sections = [(name, printable(text)) for name, text in report.sections]
    return report


def printable(text: str) -> str:
    """Text without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.fixture(scope="session")
def kafka_program(pytestconfig: pytest.Config) -> KafkaProgram:
    """A Kafka that can run here, for tests that start brokers of their own."""
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")

    def say(text: str) -> None:
        if terminal is not None:
            terminal.write_line(f"\n{text}")

    return find_kafka(KafkaSources.of(Settings()), say)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of the session's Kafka: the one of DDSTREAM_BOOTSTRAP, else one of our own."""
    if given := os.environ.get("DDSTREAM_BOOTSTRAP"):
        yield given
        return
    program: KafkaProgram = request.getfixturevalue("kafka_program")
    # A loop of its own that is nobody's current loop: tests bring theirs.
    with (
        tempfile.TemporaryDirectory(prefix="ddstream-kafka-") as folder,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        broker = LocalBroker(program, Path(folder), options=SMALL)
        runner.run(broker.start())
        try:
            yield broker.bootstrap
        finally:
            runner.run(broker.stop())
