"""A clean corner of the session's broker for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from ddstream.settings import Settings
from tests.kafka.plane import Plane


@pytest.fixture
def settings(kafka: str) -> Settings:
    """Settings with a prefix of this test's own."""
    return Settings(
        bootstrap=kafka,
        prefix=f"t{secrets.token_hex(4)}",
        partitions=3,
        max_request_bytes=1 << 20,
        request_timeout=30,
    )


@pytest.fixture
async def plane(settings: Settings) -> AsyncIterator[Plane]:
    """Workers, bridges, a producer and readers of this test's topics; all end with it."""
    async with Plane(settings) as plane:
        yield plane
