"""What the engine measures: seconds by stage and sizes of batches, as long as a service lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import REGISTRY

from ddstream.engine.engine import Engine
from ddstream.engine.meters import STAGES
from ddstream.settings import Settings
from tests.engine.probe import ProbeBackend
from tests.engine.services import definition, png, request


def of_stage(name: str, stage: str) -> float | None:
    """`count` or `sum` of a stage."""
    labels = {"service": "staged", "stage": stage}
    return REGISTRY.get_sample_value(f"ddstream_stage_seconds_{name}", labels)


def of_batches(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"ddstream_batch_samples_{name}", {"service": "staged"})


async def test_a_service_has_seconds_by_stage_and_sizes_of_batches(tmp_path: Path) -> None:
    async def give(_: web.Request) -> web.Response:
        return web.Response(body=png(1))

    application = web.Application()
    application.router.add_get("/a.png", give)
    settings = Settings(roots=(tmp_path,), fetch_allow=("127.0.0.1",))
    ProbeBackend.go.set()
    async with TestServer(application, host="127.0.0.1") as server, Engine(settings) as engine:
        await engine.create_service("staged", definition(tmp_path))
        assert [of_stage("count", stage) for stage in STAGES] == [0.0] * 5
        await asyncio.gather(*(engine.predict(request("staged", png(n))) for n in range(50)))
        assert of_stage("count", "fetch") == 0
        await engine.predict(request("staged", f"http://127.0.0.1:{server.port}/a.png"))
        counts = {stage: of_stage("count", stage) for stage in STAGES}
        sums = [of_stage("sum", stage) for stage in STAGES]
        assert counts["fetch"] == 1
        assert counts["queue"] == counts["forward"] == counts["interpret"] == of_batches("count")
        assert all(seconds is not None and 0 < seconds < 60 for seconds in sums)
        assert of_batches("sum") == 51
        await engine.delete_service("staged")
        assert of_stage("count", "forward") is None
        assert of_batches("count") is None
