"""The command line: the only place that puts processes together."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ddstream.api.protocol import Api
from ddstream.commands.flags import with_settings
from ddstream.commands.rejects import rejects_cli
from ddstream.engine.engine import Engine
from ddstream.engine.gauges import measured
from ddstream.logs import configure
from ddstream.outputs.sinks import LOOPBACK, Sinks
from ddstream.rest.app import app as rest_app
from ddstream.rest.keys import digest_of, new_key
from ddstream.rest.probes import Notes, probes
from ddstream.rest.server import Server, server_tls
from ddstream.settings import Settings, bootstrap_is_given
from ddstream.stream.admin import apply_config, differences, ensure_topics
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from ddstream.stream.local.broker import BrokerFailedError, LocalBroker, kafka_down, kafka_up
from ddstream.stream.local.home import KafkaMissingError, KafkaSources, find_kafka
from ddstream.stream.sink import KafkaSink
from ddstream.stream.topics import Topics
from ddstream.stream.worker import Worker

log = logging.getLogger("ddstream")

cli = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
kafka_cli = typer.Typer(help="A local Apache Kafka.", no_args_is_help=True)
topics_cli = typer.Typer(help="The topics of a cluster.", no_args_is_help=True)
cli.add_typer(kafka_cli, name="kafka")
cli.add_typer(topics_cli, name="topics")
cli.add_typer(rejects_cli, name="rejects")
keys_cli = typer.Typer(help="API keys of the HTTP edge.", no_args_is_help=True)
cli.add_typer(keys_cli, name="keys")

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is a free one.")]


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


def say(line: str) -> None:
    """Tell the person in front of the terminal."""
    typer.echo(line)
    sys.stdout.flush()


@cli.callback()
def main_options() -> None:
    """ddstream: deep learning on Kafka streams, on the DeepDetect API."""
    configure("INFO", "text")


@cli.command()
@with_settings
def serve(settings: Settings, host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """REST on an engine of its own, without a broker."""

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


def _listening(api: Api, settings: Settings, host: str, port: int, notes: Notes = tuple) -> Server:
    """The HTTP edge of an Api, with the settings' certificate and keys."""
    if not settings.api_keys and host not in ("127.0.0.1", "localhost", "::1"):
        log.warning("whoever reaches %s may use it: no DDSTREAM_API_KEYS are set", host)
    tls = server_tls(settings.tls_certfile, settings.tls_keyfile)
    return Server(rest_app(api, settings, notes), host, port, tls=tls)


@cli.command()
@with_settings
def bridge(settings: Settings, host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """REST in front of workers behind Kafka."""

    async def main(stop: asyncio.Event) -> None:
        async with (
            KafkaApi(Connection(settings)) as api,
            _listening(api, settings, host, port, api.notes) as server,
        ):
            say(f"serving {server.url}, Kafka at {settings.bootstrap}")
            await stop.wait()

    run_until_stopped(main)


@cli.command()
@with_settings
def worker(settings: Settings) -> None:
    """A member of the consumer groups: predicts and trains what comes on the topics."""
    run_until_stopped(lambda stop: _work(settings, stop))


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


@cli.command()
@with_settings
def dev(
    settings: Settings,
    port: Port = 8080,
    dir: Annotated[Path | None, typer.Option(help="Folder of Kafka's data; else it goes.")] = None,
    kafka_port: Annotated[int, typer.Option(help="Kafka's port; 0 is a free one.")] = 0,
) -> None:
    """A local Kafka, a worker and a bridge in one command."""

    async def main(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            bootstrap = settings.bootstrap
            if not bootstrap_is_given():
                folder = dir or Path(
                    stack.enter_context(tempfile.TemporaryDirectory(prefix="ddstream-"))
                )
                program = find_kafka(KafkaSources.of(settings), say)
                broker = LocalBroker(program, folder, kafka_port)
                bootstrap = (await stack.enter_async_context(broker)).bootstrap
            own = settings.model_copy(update={"bootstrap": bootstrap})
            say(f"Kafka at {bootstrap}")
            await _work_and_bridge(own, port, stop)

    try:
        run_until_stopped(main)
    except (BrokerFailedError, KafkaMissingError) as error:
        say(str(error))
        raise typer.Exit(1) from error


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


@kafka_cli.command("up")
@with_settings
def up(
    settings: Settings,
    dir: Annotated[Path, typer.Option(help="Folder of its data; it survives a restart.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is a free one.")] = 9092,
    foreground: Annotated[bool, typer.Option(help="Stay until SIGTERM.")] = False,
) -> None:
    """Start a single-node Apache Kafka; returns when it is ready, and prints its address."""
    try:
        kafka_up(KafkaSources.of(settings), dir, port, foreground=foreground, announce=say)
    except (BrokerFailedError, KafkaMissingError) as error:
        say(str(error))
        raise typer.Exit(1) from error


@kafka_cli.command("down")
def down(dir: Annotated[Path, typer.Option(help="Folder of its data.")]) -> None:
    """Stop the Kafka that `up` started."""
    say("stopped" if kafka_down(dir) else f"no Kafka runs in {dir}")


@topics_cli.command("apply")
@with_settings
def apply(settings: Settings) -> None:
    """Make the fixed topics that are missing, and give all of them their configuration."""

    async def main() -> None:
        connection, fixed = Connection(settings), Topics(settings).fixed()
        await ensure_topics(connection, fixed)
        await apply_config(connection, fixed)

    asyncio.run(main())
    say("the topics are as they should be")


@topics_cli.command("diff")
@with_settings
def diff(settings: Settings) -> None:
    """Show where the cluster's topics differ; ends with 1 if they do."""
    lines = asyncio.run(differences(Connection(settings), Topics(settings).fixed()))
    for line in lines:
        say(line)
    if lines:
        raise typer.Exit(1)


@topics_cli.command("asyncapi")
def asyncapi(
    write: Annotated[Path | None, typer.Option(help="Folder to write it to, with schemas.")] = None,
) -> None:
    """Print the AsyncAPI document of the topics, or write it with the schemas."""
    from ddstream.stream import asyncapi as document

    if write is None:
        say(document.render())
    else:
        document.write(write)


@keys_cli.command("new")
def new(name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> None:
    """Print a fresh key, and the entry of DDSTREAM_API_KEYS that lets it in."""
    key = new_key()
    entry = f"{name}:{digest_of(key)}"
    try:
        Settings(api_keys=(entry,))
    except ValidationError as error:
        raise typer.BadParameter("a name has letters, digits and . _ @ - only") from error
    say(f"key:   {key}")
    say(f"entry: DDSTREAM_API_KEYS={entry}")


def main() -> None:
    """The entry point of `ddstream`."""
    cli()
