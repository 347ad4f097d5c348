"""Cases i and j: what exactly once costs beside at least once, to a reader of committed answers."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ddstream.api.service import ServiceDefinition
from ddstream.api.stream import Delivery
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from tests.bench.ground import Ground
from tests.bench.result import Latencies, Result

DELIVERIES: tuple[Delivery, Delivery] = ("exactly_once", "at_least_once")
IMAGE = [("content-type", b"image/jpeg")]
PATIENCE = 60.0
LONE = 30


def device(ground: Ground) -> Result:
    """(i) A backlog for a device of 500 images a second, exactly once against at least once."""
    flags = ("tests.bench.plugged", "worker", "--bootstrap", ground.bootstrap)
    with ground.running("worker", *flags, ready=r"(worker) \S+: Kafka"):
        what = "Kafka, device of 500/s, exactly once"
        return asyncio.run(_compared(ground, "i", what, ground.jpegs, ground.scaled(1500)))


def echo(ground: Ground) -> Result:
    """(j) A backlog of echoes of 200 B, exactly once against at least once."""
    flags = ("tests.bench.echoes", "worker", ground.bootstrap)
    with ground.running("worker", *flags, ready=r"pid (\d+)"):
        what = "Kafka, echo of 200 B, exactly once"
        return asyncio.run(_compared(ground, "j", what, [b"x" * 200], ground.scaled(60_000)))


async def _compared(
    ground: Ground, case: str, what: str, payloads: list[bytes], count: int
) -> Result:
    rates: dict[str, list[float]] = {delivery: [] for delivery in DELIVERIES}
    library, lost = ("device" if case == "i" else "echo"), 0
    lone = {}
    async with KafkaApi(Connection(ground.settings)) as api:
        await api.ready()
        for delivery in DELIVERIES:
            await api.create_service(_name(case, delivery), _definition(ground, library, delivery))
            await _answered(ground, _name(case, delivery), payloads, 200)
        for _ in range(ground.rounds):
            for delivery in DELIVERIES:
                seconds, missing = await _answered(ground, _name(case, delivery), payloads, count)
                rates[delivery].append(count / seconds)
                lost += missing
        for delivery in DELIVERIES:
            lone[delivery] = await _lone(ground, _name(case, delivery), payloads)
    note = "alone p50 " + ", ".join(
        f"{name} {each.percentile(0.5):.0f} ms" for name, each in lone.items()
    )
    exactly, at_least = (rates[delivery] for delivery in DELIVERIES)
    assert statistics.median(at_least) > 0
    return Result(case, what, "records/s", exactly, at_least, goal=0.9, lost=lost, note=note)


def _name(case: str, delivery: str) -> str:
    return f"{case}-{delivery}".replace("_", "-")


def _definition(ground: Ground, library: str, delivery: Delivery) -> ServiceDefinition:
    definition = (
        ground.definition(library) if library == "device" else ServiceDefinition(mllib="echo")
    )
    parameters = definition.parameters.model_copy(update={"stream": {"delivery": delivery}})
    model = dict(definition.model)
    if model:
        model["repository"] += f"-{delivery}"
    return definition.model_copy(update={"parameters": parameters, "model": model})


async def _answered(
    ground: Ground, service: str, payloads: list[bytes], count: int
) -> tuple[float, int]:
    """Seconds until the answers of a backlog are committed, and how many do not come."""
    async with _reader(ground, service) as reader:
        await reader.seek_to_end()
        began = time.perf_counter()
        sending = asyncio.create_task(_send(ground, service, payloads, count))
        read = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while read < count:
                    polled = await reader.getmany(timeout_ms=500)
                    read += sum(map(len, polled.values()))
        seconds = time.perf_counter() - began
        await sending
        return seconds, count - read


async def _lone(ground: Ground, service: str, payloads: list[bytes]) -> Latencies:
    """Seconds from a lone request to its committed answer."""
    latencies = Latencies()
    async with (
        _reader(ground, service) as reader,
        AIOKafkaProducer(bootstrap_servers=ground.bootstrap) as producer,
    ):
        await reader.seek_to_end()
        await reader.getmany(timeout_ms=200)
        for _ in range(LONE):
            began = time.perf_counter()
            await producer.send(f"dd.predict.{service}", payloads[0], headers=IMAGE)
            await asyncio.wait_for(reader.getone(), PATIENCE)
            latencies.seconds.append(time.perf_counter() - began)
    return latencies


def _reader(ground: Ground, service: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        f"dd.results.{service}",
        bootstrap_servers=ground.bootstrap,
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
    )


async def _send(ground: Ground, service: str, payloads: list[bytes], count: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=ground.bootstrap) as producer:
        sent = [
            await producer.send(f"dd.predict.{service}", payloads[n % len(payloads)], headers=IMAGE)
            for n in range(count)
        ]
        await asyncio.gather(*sent)
