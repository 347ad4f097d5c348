"""What the long-lived commands put together: a server, a bridge, a worker, or all with a Kafka."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import typer

from ddstream.api.protocol import Api
from ddstream.commands.say import say
from ddstream.engine.engine import Engine
from ddstream.engine.gauges import measured
from ddstream.outputs.sinks import LOOPBACK, Sinks
from ddstream.rest.app import app as rest_app
from ddstream.rest.probes import Notes, probes
from ddstream.rest.server import Server, server_tls
from ddstream.settings import Settings, bootstrap_is_given
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from ddstream.stream.local.broker import BrokerFailedError, LocalBroker
from ddstream.stream.local.home import KafkaMissingError, KafkaSources, find_kafka
from ddstream.stream.sink import KafkaSink
from ddstream.stream.worker import Worker

log = logging.getLogger("ddstream")


def run_until_stopped(serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a server until SIGTERM or SIGINT; both end it well."""
    # A model's thread that comes back from its pass waits for the interpreter's lock, 5 ms at
    # Python's own interval: that is a third of a batch on a fast device.
    sys.setswitchinterval(0.0005)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(stop)

    asyncio.run(main())


def serve(settings: Settings, host: str, port: int) -> None:
    """REST on an engine of its own."""

    async def main(stop: asyncio.Event) -> None:
        allow = settings.sink_allow or (LOOPBACK if host in ("127.0.0.1", "localhost") else ())
        async with (
            Sinks.standard(allow) as sinks,
            Engine(settings, sinks=sinks) as engine,
            measured(engine),
            _listening(engine, settings, host, port) as server,
        ):
            say(f"serving {server.url}")
            await stop.wait()

    run_until_stopped(main)


def bridge(settings: Settings, host: str, port: int) -> None:
    """REST in front of workers behind Kafka."""

    async def main(stop: asyncio.Event) -> None:
        async with (
            KafkaApi(Connection(settings)) as api,
            _listening(api, settings, host, port, api.notes) as server,
        ):
            say(f"serving {server.url}, Kafka at {settings.bootstrap}")
            await stop.wait()

    run_until_stopped(main)


def worker(settings: Settings) -> None:
    """A member of the consumer groups."""
    run_until_stopped(lambda stop: _work(settings, stop))


def dev(settings: Settings, port: int, folder: Path | None, kafka_port: int) -> None:
    """A Kafka unless one is named, a worker and a bridge; `folder` keeps Kafka's data."""

    async def main(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            bootstrap = settings.bootstrap
            if not bootstrap_is_given():
                home = folder or Path(
                    stack.enter_context(tempfile.TemporaryDirectory(prefix="ddstream-"))
                )
                program = find_kafka(KafkaSources.of(settings), say)
                broker = LocalBroker(program, home, kafka_port)
                bootstrap = (await stack.enter_async_context(broker)).bootstrap
            own = settings.model_copy(update={"bootstrap": bootstrap})
            say(f"Kafka at {bootstrap}")
            await _work_and_bridge(own, port, stop)

    try:
        run_until_stopped(main)
    except (BrokerFailedError, KafkaMissingError) as error:
        say(str(error))
        raise typer.Exit(1) from error


def _listening(api: Api, settings: Settings, host: str, port: int, notes: Notes = tuple) -> Server:
    """The HTTP edge of an Api, with the settings' certificate and keys."""
    if not settings.api_keys and host not in ("127.0.0.1", "localhost", "::1"):
        log.warning("whoever reaches %s may use it: no DDSTREAM_API_KEYS are set", host)
    tls = server_tls(settings.tls_certfile, settings.tls_keyfile)
    return Server(rest_app(api, settings, notes), host, port, tls=tls)


async def _work(settings: Settings, stop: asyncio.Event) -> None:
    connection = Connection(settings)
    async with AsyncExitStack() as stack:
        sinks = Sinks.standard(settings.sink_allow, kafka=KafkaSink(connection))
        await stack.enter_async_context(sinks)
        engine = await stack.enter_async_context(Engine(settings, sinks=sinks))
        await stack.enter_async_context(measured(engine))
        worker = Worker(engine, connection)
        if settings.http_port is not None:
            server = Server(probes(worker.health, worker.notes), "127.0.0.1", settings.http_port)
            await stack.enter_async_context(server)
            worker.address = f"http://127.0.0.1:{server.port}"
            say(f"worker {worker.id}: probes at {worker.address}")
        say(f"worker {worker.id}: Kafka at {settings.bootstrap}")
        running = asyncio.ensure_future(worker.run())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        await running
        stopping.cancel()


async def _work_and_bridge(settings: Settings, port: int, stop: asyncio.Event) -> None:
    # The bridge goes first: requests that it has taken need the worker for their answers.
    bridge_gone = asyncio.Event()
    working = asyncio.create_task(_work(settings, bridge_gone))
    try:
        async with (
            KafkaApi(Connection(settings)) as api,
            _listening(api, settings, "127.0.0.1", port, api.notes) as server,
        ):
            await api.ready()
            say(f"serving {server.url}")
            await stop.wait()
    finally:
        bridge_gone.set()
        await working
