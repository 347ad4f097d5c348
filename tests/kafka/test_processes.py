"""The commands as processes: killed in mid-batch, asked to end, with a real model."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import pairwise
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest

from ddstream.api.parameters import envelope
from ddstream.api.service import ServiceDefinition
from ddstream.settings import Settings
from tests.kafka.commands import Command, command
from tests.kafka.plane import Plane, body, eventually, headers

PNG = {"content-type": b"image/png"}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose root is this test's folder."""
    return settings.model_copy(update={"roots": (tmp_path,), "request_timeout": 120.0})


def digits(folder: Path) -> ServiceDefinition:
    """A small classifier with fixed random weights, equal on every worker."""
    return envelope(
        ServiceDefinition,
        {
            "mllib": "torch",
            "model": {"repository": str(folder / "model"), "create_repository": True},
            "parameters": {
                "input": {"connector": "image", "width": 32, "height": 32, "scale": 0.004},
                "mllib": {"template": "resnet18", "nclasses": 10},
            },
        },
    )


def png() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


async def loaded(plane: Plane, workers: int) -> bool:
    """Whether so many workers serve the service, by their heartbeats."""
    beats = await plane.read(plane.topics.workers, 1)
    last = {beat.key: body(beat)["services"] for beat in beats if beat.value}
    return len([s for s in last.values() if s.get("x", {}).get("state") == "loaded"]) >= workers


@pytest.mark.timeout(240)
async def test_a_worker_killed_in_mid_batch_leaves_no_request_unanswered(
    plane: Plane, settings: Settings, tmp_path: Path
) -> None:
    image = png()
    async with command(settings, "worker") as first, command(settings, "worker") as second:
        api = await plane.bridge()
        await api.create_service("x", digits(tmp_path))
        await eventually(lambda: loaded(plane, 2))
        sending = asyncio.create_task(_stream(plane, image, 600))
        await eventually(lambda: _some(plane))
        first.process.kill()
        await sending
        answered: set[bytes] = set()
        results = await plane.read(plane.topics.results("x"), 600, seconds=120)
        answered = {headers(result)["dd-source"] for result in results}
        while len(answered) < 600:
            results = await plane.read(plane.topics.results("x"), len(results) + 1, seconds=60)
            answered = {headers(result)["dd-source"] for result in results}
        assert {headers(result)["dd-status"] for result in results} == {b"200"}
        for partition in range(settings.partitions):
            offsets = [
                int(headers(r)["dd-source"].rpartition(b"/")[2])
                for r in results
                if r.partition == partition
            ]
            assert sorted(set(offsets)) == list(range(200))
            assert _repeats_only_a_tail(offsets)
        assert await second.end() == 0


def _repeats_only_a_tail(offsets: list[int]) -> bool:
    """In order; after the kill the next owner begins again at the last commit, once."""
    steps = [after - before for before, after in pairwise(offsets)]
    return sum(step != 1 for step in steps) <= 1


async def _stream(plane: Plane, image: bytes, count: int) -> None:
    for start in range(0, count, 30):
        futures = [
            await plane.producer.send(
                plane.topics.predict("x"), image, partition=n % 3, headers=[*PNG.items()]
            )
            for n in range(start, start + 30)
        ]
        await asyncio.gather(*futures)
        await asyncio.sleep(0.05)


async def _some(plane: Plane) -> bool:
    return await plane.ends(plane.topics.results("x")) > 40


@pytest.mark.timeout(240)
async def test_worker_and_bridge_end_with_0_on_sigterm_and_answer_what_they_took(
    plane: Plane, settings: Settings, tmp_path: Path
) -> None:
    async with (
        command(settings, "worker", "--http-port", "0") as worker,
        command(settings, "bridge", "--port", "0") as bridge,
    ):
        probes = await worker.says(r"probes at (http\S+)")
        url = await bridge.says(r"serving (http://[^,\s]+)")
        async with aiohttp.ClientSession() as session:
            await _ready(session, probes)
            definition = digits(tmp_path).model_dump(by_alias=True)
            async with session.put(f"{url}/services/x", json=definition) as answer:
                assert answer.status == 201, await answer.text()
            await _ready(session, probes)
            for path in ("/livez", "/metrics"):
                async with session.get(probes + path) as answer:
                    assert answer.status == 200, await answer.text()
            futures = [
                await plane.producer.send(
                    plane.topics.predict("x"), png(), partition=0, headers=[*PNG.items()]
                )
                for _ in range(300)
            ]
            await asyncio.gather(*futures)
            await eventually(lambda: _some(plane))
        assert await worker.end() == 0
        assert await bridge.end() == 0
    answered = await plane.ends(plane.topics.results("x"))
    assert (await plane.committed("x"))[0] == answered
    async with plane.connection.admin() as admin:
        replies = plane.topics.replies("")
        assert not [t for t in await admin.list_topics() if t.startswith(replies)]


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    async def check() -> bool:
        async with session.get(url + "/readyz") as answer:
            return answer.status == 200

    await eventually(check)


@pytest.mark.timeout(180)
async def test_serve_answers_without_a_broker_and_ends_with_0(
    settings: Settings, tmp_path: Path
) -> None:
    nowhere = settings.model_copy(update={"bootstrap": "127.0.0.1:1"})
    async with command(nowhere, "serve", "--port", "0") as serve:
        url = await serve.says(r"serving (http://\S+)")
        async with aiohttp.ClientSession() as session:
            definition = digits(tmp_path).model_dump(by_alias=True)
            async with session.put(f"{url}/services/x", json=definition) as answer:
                assert answer.status == 201, await answer.text()
            file = tmp_path / "a.png"
            file.write_bytes(png())
            request = {"service": "x", "data": [str(file)]}
            async with session.post(f"{url}/predict", json=request) as answer:
                assert answer.status == 200, await answer.text()
            outside = {"service": "x", "data": ["/etc/hostname"]}
            async with session.post(f"{url}/predict", json=outside) as answer:
                assert "DDSTREAM_ROOTS" in await answer.text()
        assert await serve.end() == 0


@pytest.mark.timeout(240)
async def test_a_deadline_that_has_passed_is_504_and_costs_no_decode(
    plane: Plane, settings: Settings, tmp_path: Path
) -> None:
    async with command(settings, "worker"):
        api = await plane.bridge()
        await api.create_service("x", digits(tmp_path))
        past = b"%d" % int((time.time() - 10) * 1000)
        # Not even an image: who decoded it would answer 1005.
        await plane.send("x", b"no image", {**PNG, "dd-deadline": past})
        await plane.send("x", png(), PNG)
        results = await plane.results("x", 2)
        statuses = sorted(headers(result)["dd-status"] for result in results)
        assert statuses == [b"200", b"504"]
        assert await plane.ends(plane.topics.rejects) == 0


async def test_bad_settings_are_named_and_end_with_2(settings: Settings) -> None:
    async with command(settings, "worker", "--max-request-bytes", "many") as worker:
        assert await _ended(worker) == 2
    assert any("max_request_bytes" in line for line in worker.lines)


async def _ended(running: Command) -> int:
    async with asyncio.timeout(60):
        return await running.process.wait()


@pytest.mark.timeout(180)
async def test_dev_without_a_cluster_starts_its_own_and_leaves_nothing(
    settings: Settings, kafka_program: object
) -> None:
    none = settings.model_copy(update={"bootstrap": ""})
    async with command(none, "dev", "--port", "0") as dev:
        url = await dev.says(r"serving (http://\S+)")
        async with aiohttp.ClientSession() as session, session.get(f"{url}/info") as answer:
            assert (await answer.json())["head"]["services"] == []
        assert await dev.end(signal.SIGINT) == 0
