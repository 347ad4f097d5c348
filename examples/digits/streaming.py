"""Images as records on a Kafka topic, and their predictions as records on another."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

WINDOW = 64
"""Images that are sent and not yet answered, at most."""
PATIENCE = 60.0
"""Seconds without any result after which the rest counts as lost."""


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image, and the name under which its prediction comes back."""

    uri: str
    content: bytes
    content_type: str = "image/png"

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Says what the record's bytes are; the result carries the correlation id on."""
        return [
            ("content-type", self.content_type.encode()),
            ("dd-uri", self.uri.encode()),
            ("correlation_id", self.uri.encode()),
        ]


@dataclass(frozen=True, slots=True)
class Topics:
    """Where a service takes its requests and where it puts its results."""

    requests: str
    results: str

    @classmethod
    def of(cls, service: str, prefix: str = "dd") -> Topics:
        """The topics of a service, whose name needs no escaping."""
        return cls(f"{prefix}.predict.{service}", f"{prefix}.results.{service}")


@dataclass(slots=True)
class Outcome:
    """What came back: results and seconds from send to read, by uri."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    lost: int = 0


async def stream(
    bootstrap: str, topics: Topics, images: Sequence[Image], arrived: Callable[[], None]
) -> Outcome:
    """Send every image and read every result; `arrived` is called at each one."""
    outcome = Outcome()
    free = asyncio.Semaphore(WINDOW)
    sent: dict[str, float] = {}
    async with (
        AIOKafkaProducer(bootstrap_servers=bootstrap) as producer,
        # A fetch that waits leaves out partitions whose records are not read yet: let it be short.
        AIOKafkaConsumer(
            topics.results, bootstrap_servers=bootstrap, fetch_max_wait_ms=50
        ) as consumer,
    ):

        async def send() -> None:
            for image in images:
                await free.acquire()
                sent[image.uri] = time.perf_counter()
                await producer.send(topics.requests, image.content, headers=image.headers)

        async def read() -> None:
            while len(outcome.results) < len(images):
                record = await asyncio.wait_for(consumer.getone(), PATIENCE)
                uri = dict(record.headers).get("correlation_id", b"").decode()
                if uri in sent and uri not in outcome.results:
                    outcome.latencies[uri] = time.perf_counter() - sent[uri]
                    outcome.results[uri] = json.loads(record.value)
                    free.release()
                    arrived()

        # From here on: the topic may hold the results of an earlier run.
        await consumer.seek_to_end()
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send())
            with suppress(TimeoutError):
                await read()
            sending.cancel()
        outcome.seconds = time.perf_counter() - began
    outcome.lost = len(images) - len(outcome.results)
    return outcome


def best_class(result: dict[str, Any]) -> str:
    """The most probable class of a result; its error's text if it is one."""
    if "body" not in result:
        return str(result["status"].get("dd_msg", result["status"]["msg"]))
    return str(result["body"]["predictions"][0]["classes"][0]["cat"])
