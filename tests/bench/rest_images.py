"""Cases c, d and e: photographs as base64 in the documented JSON, over REST without a broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice

import aiohttp
import orjson
import pybase64

from ddstream.rest.client import HttpApi
from tests.bench import bare
from tests.bench.device import SECONDS_AN_IMAGE
from tests.bench.ground import Ground
from tests.bench.result import Latencies, Result

CLIENTS = 32
WARM = 64
FLOOR = 3.3
"""Milliseconds that one client cannot get below: decoding takes 1.3, the device 2."""


@dataclass(slots=True)
class Load:
    """What clients got."""

    seconds: float = 0.0
    lost: int = 0
    latencies: Latencies = field(default_factory=Latencies)


def model_on_rest(ground: Ground) -> Result:
    """(c) ResNet-18 behind REST, against a bare loop that decodes and runs it."""
    images = ground.scaled(480)
    with _serving(ground, "torch") as url:
        rounds = _rounds(ground, url, ("torch", images))
        ours, theirs, load = _against(rounds, lambda: bare.images_a_second(ground.jpegs, images))
    what = f"REST, ResNet-18, {CLIENTS} clients"
    note = load.latencies.told()
    return Result("c", what, "img/s", ours, theirs, goal=0.93, lost=load.lost, note=note)


def device_on_rest(ground: Ground) -> Result:
    """(d) A device of 500 images a second behind REST, against 500."""
    with _serving(ground, "device") as url:
        rounds = _rounds(ground, url, ("device", ground.scaled(1500)))
        ours, theirs, load = _against(rounds, lambda: 1 / SECONDS_AN_IMAGE)
    what = f"REST, device of 500/s, {CLIENTS} clients"
    note = load.latencies.told()
    return Result("d", what, "img/s", ours, theirs, goal=0.88, lost=load.lost, note=note)


def one_client(ground: Ground) -> Result:
    """(e) One client of the device over REST: what a request takes."""
    bodies = _bodies("device", ground.jpegs, ground.scaled(300))
    ours: list[float] = []
    lost = 0
    with _serving(ground, "device") as url:
        for _ in range(ground.rounds):
            load = asyncio.run(_loaded(url, bodies, clients=1))
            ours.append(load.latencies.percentile(0.5))
            lost += load.lost
    floor = [FLOOR] * len(ours)
    what = "REST, device, one client, p50"
    return Result("e", what, "ms", ours, floor, goal=6.0, better="lower", absolute=True, lost=lost)


@contextmanager
def _serving(ground: Ground, library: str) -> Iterator[str]:
    ready = r"serving (http://\S+)"
    with ground.running("serve", "tests.bench.plugged", "serve", "--port", "0", ready=ready) as url:
        asyncio.run(_create(ground, url, library))
        asyncio.run(_loaded(url, _bodies(library, ground.jpegs, WARM), CLIENTS))
        yield url


async def _create(ground: Ground, url: str, library: str) -> None:
    async with HttpApi(url) as api:
        await api.create_service(library, ground.definition(library))


def _rounds(ground: Ground, url: str, load: tuple[str, int]) -> Iterator[Load]:
    service, images = load
    bodies = _bodies(service, ground.jpegs, images)
    return (asyncio.run(_loaded(url, bodies, CLIENTS)) for _ in range(ground.rounds))


def _against(
    rounds: Iterator[Load], reference: Callable[[], float]
) -> tuple[list[float], list[float], Load]:
    ours, theirs, total = [], [], Load()
    for load in rounds:
        ours.append(len(load.latencies.seconds) / load.seconds)
        theirs.append(reference())
        total.latencies.seconds += load.latencies.seconds
        total.lost += load.lost
    return ours, theirs, total


def _bodies(service: str, jpegs: Sequence[bytes], count: int) -> list[bytes]:
    each = [
        orjson.dumps({"service": service, "data": [pybase64.b64encode_as_string(jpeg)]})
        for jpeg in jpegs
    ]
    return list(islice(cycle(each), count))


async def _loaded(url: str, bodies: Sequence[bytes], clients: int) -> Load:
    """All bodies, by so many clients that each wait for their answer."""
    load, waiting = Load(), iter(bodies)
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def client() -> None:
            for body in waiting:
                began = time.perf_counter()
                async with session.post(f"{url}/predict", data=body) as response:
                    answer = orjson.loads(await response.read())
                load.latencies.seconds.append(time.perf_counter() - began)
                load.lost += not answer.get("body", {}).get("predictions")

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        load.seconds = time.perf_counter() - began
    return load
