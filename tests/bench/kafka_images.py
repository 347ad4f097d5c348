"""Cases a and b: photographs as records through Kafka, a window of 64, in front of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import cycle, islice

from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from examples.digits.streaming import Image, Outcome, Topics, stream
from tests.bench import bare
from tests.bench.device import SECONDS_AN_IMAGE
from tests.bench.ground import Ground
from tests.bench.result import Latencies, Result

WARM = 64


def model_on_kafka(ground: Ground) -> Result:
    """(a) ResNet-18 behind Kafka, against a bare loop that decodes and runs it."""
    images = ground.scaled(480)
    return _compared(
        ground, "a", "torch", images, lambda: bare.images_a_second(ground.jpegs, images)
    )


def device_on_kafka(ground: Ground) -> Result:
    """(b) A device of 500 images a second behind Kafka, against 500."""
    return _compared(ground, "b", "device", ground.scaled(1500), lambda: 1 / SECONDS_AN_IMAGE)


GOALS = {"a": 0.92, "b": 0.93}
NAMES = {"a": "Kafka, ResNet-18, window 64", "b": "Kafka, device of 500/s, window 64"}


def _compared(
    ground: Ground, case: str, library: str, images: int, reference: Callable[[], float]
) -> Result:
    ours, theirs, latencies, lost = [], [], Latencies(), 0
    flags = ("worker", "--bootstrap", ground.bootstrap)
    with ground.running("worker", "tests.bench.plugged", *flags, ready=r"(worker) \S+: Kafka"):
        asyncio.run(_create(ground, library))
        asyncio.run(_streamed(ground, library, WARM))
        for _ in range(ground.rounds):
            outcome = asyncio.run(_streamed(ground, library, images))
            ours.append(images / outcome.seconds)
            latencies.seconds += outcome.latencies.values()
            lost += outcome.lost + _refused(outcome)
            theirs.append(reference())
    return Result(
        case,
        NAMES[case],
        "img/s",
        ours,
        theirs,
        goal=GOALS[case],
        lost=lost,
        note=latencies.told(),
    )


async def _create(ground: Ground, library: str) -> None:
    async with KafkaApi(Connection(ground.settings)) as api:
        await api.create_service(library, ground.definition(library))


async def _streamed(ground: Ground, service: str, images: int) -> Outcome:
    photographs = islice(cycle(ground.jpegs), images)
    records = [Image(f"{n}", jpeg, "image/jpeg") for n, jpeg in enumerate(photographs)]
    return await stream(ground.bootstrap, Topics.of(service), records, lambda: None)


def _refused(outcome: Outcome) -> int:
    return sum("body" not in result for result in outcome.results.values())
