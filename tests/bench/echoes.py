"""Processes that answer each record at once: ddstream's worker without models, and bare aiokafka.

`python -m tests.bench.echoes worker|stream|reply BOOTSTRAP` prints its process id when it runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ddstream.settings import Settings
from ddstream.stream.connection import Connection
from ddstream.stream.worker import Worker
from tests.kafka.echo import EchoHost

REQUESTS, RESULTS = "bench.requests", "bench.results"
ASKED, REPLIED = "bench.asked", "bench.replied"


async def worker(bootstrap: str) -> None:
    """The product's streaming plane, whole; its host gives back what it got."""
    worker = Worker(EchoHost(), Connection(Settings(bootstrap=bootstrap)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    announce()
    await worker.run()


async def bare(bootstrap: str, requests: str, results: str) -> None:
    """Consume and produce with aiokafka alone: no order, no commit behind finished work."""
    async with (
        AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0) as producer,
        AIOKafkaConsumer(
            requests, bootstrap_servers=bootstrap, group_id=requests, auto_offset_reset="earliest"
        ) as consumer,
    ):
        announce()
        while True:
            written: list[asyncio.Future[Any]] = []
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    sent = producer.send(
                        results,
                        record.value,
                        record.key,
                        partition=record.partition,
                        headers=list(record.headers),
                    )
                    written.append(await sent)
            await asyncio.gather(*written)


async def until_terminated(work: Any) -> None:
    """Run `work` until SIGTERM."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


def announce() -> None:
    """Tell the bench that this process runs."""
    print(f"pid {os.getpid()}", flush=True)


def main(kind: str, bootstrap: str) -> None:
    """Run one of the three."""
    if kind == "worker":
        asyncio.run(worker(bootstrap))
    elif kind == "stream":
        asyncio.run(until_terminated(bare(bootstrap, REQUESTS, RESULTS)))
    else:
        asyncio.run(until_terminated(bare(bootstrap, ASKED, REPLIED)))


if __name__ == "__main__":
    main(*sys.argv[1:])
