"""The command line: the only place that puts processes together."""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ddstream.engine.engine import Engine
from ddstream.outputs.sinks import LOOPBACK, Sinks
from ddstream.rest.app import app as rest_app
from ddstream.rest.probes import probes
from ddstream.rest.server import Server
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

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is a free one.")]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each setting; it gets them as `settings`."""

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in Settings.model_fields if name in given}
        try:
            settings = Settings(**{k: v for k, v in chosen.items() if v is not None})
        except ValidationError as error:
            problems = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
            raise typer.BadParameter(problems) from error
        command(settings=settings, **given)

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [parameter for parameter in own if parameter.name != "settings"]
    names = {parameter.name for parameter in parameters}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters + [_flag(name) for name in Settings.model_fields if name not in names]
    )
    return run


def _flag(name: str) -> inspect.Parameter:
    text = (Settings.model_fields[name].description or "").partition("\n")[0]
    flag = typer.Option(f"--{name.replace('_', '-')}", help=text, rich_help_panel="Settings")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, flag]
    )


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
def logs(
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> None:
    """ddstream: deep learning on Kafka streams, on the DeepDetect API."""
    logging.basicConfig(
        level=log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # aiokafka tells each retry at ERROR; what matters of it is told by our own log.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@cli.command()
@with_settings
def serve(settings: Settings, host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """REST on an engine of its own, without a broker."""

    async def main(stop: asyncio.Event) -> None:
        allow = settings.sink_allow or (LOOPBACK if host in ("127.0.0.1", "localhost") else ())
        async with (
            Sinks.standard(allow) as sinks,
            Engine(settings, sinks=sinks) as engine,
            Server(rest_app(engine, settings), host, port) as server,
        ):
            say(f"serving http://{host}:{server.port}")
            await stop.wait()

    run_until_stopped(main)


@cli.command()
@with_settings
def bridge(settings: Settings, host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """REST in front of workers behind Kafka."""

    async def main(stop: asyncio.Event) -> None:
        async with (
            KafkaApi(Connection(settings)) as api,
            Server(rest_app(api, settings), host, port) as server,
        ):
            say(f"serving http://{host}:{server.port}, Kafka at {settings.bootstrap}")
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
        worker = Worker(engine, connection)
        if settings.http_port is not None:
            server = Server(probes(worker.health), "127.0.0.1", settings.http_port)
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
            Server(rest_app(api, settings), "127.0.0.1", port) as server,
        ):
            await api.ready()
            say(f"serving http://127.0.0.1:{server.port}")
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


def main() -> None:
    """The entry point of `ddstream`."""
    cli()
