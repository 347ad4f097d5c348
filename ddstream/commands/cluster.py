"""`ddstream kafka`, `ddstream topics` and `ddstream keys`: what operators of a cluster do.

Imports stand inside the commands: `--help` must not wait for a Kafka client.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ddstream.commands.flags import with_settings
from ddstream.commands.say import say
from ddstream.settings import Settings

kafka_cli = typer.Typer(help="A local Apache Kafka.", no_args_is_help=True)
topics_cli = typer.Typer(help="The topics of a cluster.", no_args_is_help=True)
keys_cli = typer.Typer(help="API keys of the HTTP edge.", no_args_is_help=True)


@kafka_cli.command("up")
@with_settings
def up(
    settings: Settings,
    dir: Annotated[Path, typer.Option(help="Folder of its data; it survives a restart.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is a free one.")] = 9092,
    foreground: Annotated[bool, typer.Option(help="Stay until SIGTERM.")] = False,
) -> None:
    """Start a single-node Apache Kafka; returns when it is ready, and prints its address."""
    from ddstream.stream.local.broker import BrokerFailedError, kafka_up
    from ddstream.stream.local.home import KafkaMissingError, KafkaSources

    try:
        kafka_up(KafkaSources.of(settings), dir, port, foreground=foreground, announce=say)
    except (BrokerFailedError, KafkaMissingError) as error:
        say(str(error))
        raise typer.Exit(1) from error


@kafka_cli.command("down")
def down(dir: Annotated[Path, typer.Option(help="Folder of its data.")]) -> None:
    """Stop the Kafka that `up` started."""
    from ddstream.stream.local.broker import kafka_down

    say("stopped" if kafka_down(dir) else f"no Kafka runs in {dir}")


@topics_cli.command("apply")
@with_settings
def apply(settings: Settings) -> None:
    """Make the fixed topics that are missing, and give all of them their configuration."""
    from ddstream.stream.admin import apply_config, ensure_topics
    from ddstream.stream.connection import Connection
    from ddstream.stream.topics import Topics

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
    from ddstream.stream.admin import differences
    from ddstream.stream.connection import Connection
    from ddstream.stream.topics import Topics

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
    from ddstream.rest.keys import digest_of, new_key

    key = new_key()
    entry = f"{name}:{digest_of(key)}"
    try:
        Settings(api_keys=(entry,))
    except ValidationError as error:
        raise typer.BadParameter("a name has letters, digits and . _ @ - only") from error
    say(f"key:   {key}")
    say(f"entry: DDSTREAM_API_KEYS={entry}")
