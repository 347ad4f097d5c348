"""A broker that asks who is there: the settings reach every client, FastStream's too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ddstream.api.predict import PredictRequest
from ddstream.settings import Settings
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaProgram
from ddstream.stream.local.properties import BrokerUser
from tests.kafka.echo import EchoHost
from tests.kafka.plane import ECHO, Plane


@pytest.fixture
async def guarded(kafka_program: KafkaProgram, tmp_path: Path) -> AsyncIterator[LocalBroker]:
    """A broker with one user."""
    options = BrokerOptions(heap="256m", users=(BrokerUser("alice", "secret"),))
    async with LocalBroker(kafka_program, tmp_path / "kafka", options=options) as broker:
        yield broker


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_worker_and_bridge_work_over_sasl(guarded: LocalBroker, mechanism: str) -> None:
    settings = Settings.model_validate(
        {
            "bootstrap": guarded.sasl_bootstrap,
            "partitions": 2,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": mechanism,
            "sasl_username": "alice",
            "sasl_password": "secret",
        }
    )
    async with Plane(settings) as plane:
        await plane.worker(EchoHost())
        api = await plane.bridge()
        await api.create_service("x", ECHO)
        answer = await api.predict(PredictRequest(service="x", data=["a"]))
        assert answer.body["predictions"] == [{"uri": "a"}]


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Settings(sasl_password="secret"))
