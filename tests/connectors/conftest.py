"""Data sets on disk for the tests of connectors, and a server that must not be called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.connectors.images.sets import three_classes
from tests.connectors.remote.hostile_ground import Canary, response, saying, serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders ant, bee and owl, with four images each."""
    return three_classes(tmp_path)


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    """It listens at 127.0.0.1."""
    bird = Canary()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bird.hits += 1
        await saying(response())(reader, writer)

    async with serving(serve) as bird.port:
        yield bird
