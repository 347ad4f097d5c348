"""The command line: `ddstream`, and `deepdetect` for the workflows of the documented command.

What a command needs is imported when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ddstream.commands.cluster import kafka_cli, keys_cli, topics_cli
from ddstream.commands.flags import with_settings
from ddstream.commands.rejects import rejects_cli
from ddstream.commands.workflow import add_workflows
from ddstream.logs import configure
from ddstream.settings import Settings

cli = typer.Typer(no_args_is_help=True, add_completion=False)
deepdetect_cli = typer.Typer(no_args_is_help=True, add_completion=False)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is a free one.")]


@cli.callback()
def main_options() -> None:
    """ddstream: deep learning on Kafka streams, on the DeepDetect API."""
    configure("INFO", "text")


@deepdetect_cli.callback()
def deepdetect_options() -> None:
    """Train models and predict with them, without any server."""
    configure("INFO", "text")


@cli.command()
@with_settings
def serve(settings: Settings, host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """REST on an engine of its own, without a broker."""
    from ddstream.commands import processes

    processes.serve(settings, host, port)


@cli.command()
@with_settings
def bridge(settings: Settings, host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """REST in front of workers behind Kafka."""
    from ddstream.commands import processes

    processes.bridge(settings, host, port)


@cli.command()
@with_settings
def worker(settings: Settings) -> None:
    """A member of the consumer groups: predicts and trains what comes on the topics."""
    from ddstream.commands import processes

    processes.worker(settings)


@cli.command()
@with_settings
def dev(
    settings: Settings,
    port: Port = 8080,
    dir: Annotated[Path | None, typer.Option(help="Folder of Kafka's data; else it goes.")] = None,
    kafka_port: Annotated[int, typer.Option(help="Kafka's port; 0 is a free one.")] = 0,
) -> None:
    """A local Kafka, a worker and a bridge in one command."""
    from ddstream.commands import processes

    processes.dev(settings, port, dir, kafka_port)


add_workflows(cli)
cli.add_typer(kafka_cli, name="kafka")
cli.add_typer(topics_cli, name="topics")
cli.add_typer(rejects_cli, name="rejects")
cli.add_typer(keys_cli, name="keys")
add_workflows(deepdetect_cli, documented=True)


def main() -> None:
    """The entry point of `ddstream`."""
    cli()


def deepdetect_main() -> None:
    """The entry point of `deepdetect`."""
    deepdetect_cli()
