"""A cluster of several addresses, on the real broker: any one that answers is enough."""

from __future__ import annotations

import pytest

from ddstream.settings import Settings
from tests.kafka.echo import EchoHost
from tests.kafka.plane import ECHO, Plane, headers


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that name two addresses, the first of which nobody listens on."""
    return settings.model_copy(update={"bootstrap": f"127.0.0.1:1,{settings.bootstrap}"})


async def test_worker_and_bridge_serve_where_one_of_two_addresses_answers(plane: Plane) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    await plane.send("x", b"value", {"content-type": b"application/octet-stream"})
    (result,) = await plane.results("x", 1)
    assert headers(result)["dd-status"] == b"200"
