"""`ddstream rejects`: list, show, replay and drop what could not be worked on.

The Kafka side is imported when a command runs: `--help` must not wait for it.
"""

from __future__ import annotations

import asyncio
import getpass
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddstream.commands.flags import with_settings
from ddstream.errors import DDError
from ddstream.settings import Settings

if TYPE_CHECKING:
    from ddstream.stream.rejects.reject import RejectId, Which
    from ddstream.stream.rejects.rejects import Done, Rejects

rejects_cli = typer.Typer(
    help="Records that could not be worked on. Ends with 0 when all was done, 1 when some of it "
    "was not, 2 for wrong words.",
    no_args_is_help=True,
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_TIME = "ISO time (local unless it says otherwise), or how long ago: 90s, 30m, 2h, 7d."
Service = Annotated[str, typer.Option(help="Only those of this service.")]
Code = Annotated[str, typer.Option(help="Only those with this dd code, or HTTP code without one.")]
Since = Annotated[str, typer.Option(help=f"Only those rejected at or after: {_TIME}")]
Until = Annotated[str, typer.Option(help="Only those rejected before: a time as for --since.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, the first in order.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="partition/offset, as `list` has them.")
]
All = Annotated[bool, typer.Option("--all", help="All open ones that the filters leave.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
By = Annotated[str, typer.Option(help="Who does it, for the record; else user@host.")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON for each.")]


@rejects_cli.command("list")
@with_settings
def list_(
    settings: Settings,
    *,
    service: Service = "",
    code: Code = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Also what was replayed or dropped.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show the open rejects, in the order in which they would be replayed."""
    from ddstream.commands.reject_views import as_json, table

    which = _which(service, code, since, until, limit=limit, resolved=resolved)

    async def main(rejects: Rejects) -> None:
        found = await rejects.list(which)
        if json:
            for reject in found:
                typer.echo(as_json(reject))
        else:
            table(found)

    _run(settings, "", main)


@rejects_cli.command()
@with_settings
def show(
    settings: Settings,
    id: Annotated[str, typer.Argument(metavar="ID", help="partition/offset, as `list` has it.")],
    output: Annotated[Path | None, typer.Option(help="File to write the value's bytes to.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The reject as a line of JSON.")] = False,
) -> None:
    """Show one reject: why, its headers, and its value as text, JSON or the first bytes in hex."""
    from ddstream.commands.reject_views import as_json, described, preview

    reject_id = _ids([id])[0]

    async def main(rejects: Rejects) -> None:
        reject, value = await rejects.show(reject_id)
        typer.echo(as_json(reject) if json else described(reject))
        if output is not None:
            output.write_bytes(value or b"")
            typer.echo(f"{len(value or b'')} bytes in {output}", err=json)
        elif not json:
            typer.echo(preview(value))

    _run(settings, "", main)


@rejects_cli.command()
@with_settings
def replay(
    settings: Settings,
    ids: Ids = None,
    *,
    all: All = False,
    service: Service = "",
    code: Code = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = None,
    dry_run: DryRun = False,
    by: By = "",
    json: AsJson = False,
) -> None:
    """Send rejects back to where they came from, with their own key, value and headers.

    They go to the same partition of their service's topic, in the order that they had there.
    A replay carries dd-replay-of (topic/partition/offset of the reject) and dd-replays (how
    often). A dd-deadline that has passed is left out: it would be refused for it at once. A
    reject that cannot go back, because its service is gone, stays open.
    """
    which = _which(service, code, since, until, limit=limit, ids=_chosen(ids, all, limit))
    _work(settings, by, lambda rejects: rejects.replay(which, dry_run=dry_run), json=json)


@rejects_cli.command()
@with_settings
def drop(
    settings: Settings,
    ids: Ids = None,
    *,
    all: All = False,
    service: Service = "",
    code: Code = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Then delete what lies before the first open one.")
    ] = False,
    dry_run: DryRun = False,
    by: By = "",
    json: AsJson = False,
) -> None:
    """Mark rejects as dropped: they are listed no more, and go at their retention.

    Kafka deletes no single record; `--purge` deletes, in each partition, all that lies before
    the first open reject. It may stand alone.
    """
    chosen = () if purge and not all and not ids else _chosen(ids, all, limit)
    which = _which(service, code, since, until, limit=limit, ids=chosen)
    if chosen or all:
        _work(settings, by, lambda rejects: rejects.drop(which, dry_run=dry_run), json=json)
    if purge and not dry_run:

        async def main(rejects: Rejects) -> None:
            typer.echo(f"{await rejects.purge()} records deleted", err=json)

        _run(settings, by, main)


def _work(
    settings: Settings,
    by: str,
    verb: Callable[[Rejects], AsyncGenerator[Sequence[Done], None]],
    *,
    json: bool,
) -> None:
    """Do a verb portion by portion; a signal ends it between two of them."""
    from ddstream.commands.reject_views import as_json

    results: list[bool] = []

    async def main(rejects: Rejects) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with aclosing(verb(rejects)) as portions:
            async for portion in portions:
                for done in portion:
                    results.append(done.ok)
                    typer.echo(as_json(done) if json else f"{done.id}  {_said(done)}")
                sys.stdout.flush()
                if stop.is_set():
                    typer.echo("stopped; what was not named here stays open", err=True)
                    raise typer.Exit(1)

    _run(settings, by, main)
    good = sum(results)
    typer.echo(f"{good} done, {len(results) - good} not", err=True)
    if good < len(results):
        raise typer.Exit(1)


def _run(settings: Settings, by: str, work: Callable[[Rejects], Coroutine[Any, Any, None]]) -> None:
    from ddstream.stream.connection import Connection
    from ddstream.stream.rejects.rejects import Rejects

    async def main() -> None:
        async with Rejects(Connection(settings), by=by or _me()) as rejects:
            await work(rejects)

    try:
        asyncio.run(main())
    except (DDError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _said(done: Done) -> str:
    return done.detail if done.ok else f"not done: {done.detail}"


def _chosen(ids: Sequence[str] | None, everything: bool, limit: int | None) -> Sequence[RejectId]:
    if bool(ids) == everything:
        raise typer.BadParameter("either IDs or --all is wanted")
    if ids and limit is not None:
        raise typer.BadParameter("--limit goes with --all")
    return _ids(ids or ())


def _ids(texts: Sequence[str]) -> Sequence[RejectId]:
    from ddstream.stream.rejects.reject import RejectId

    try:
        return [RejectId.parse(text) for text in texts]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _which(service: str, code: str, since: str, until: str, **more: Any) -> Which:
    from ddstream.stream.rejects.reject import Which

    ids = tuple(more.pop("ids", ()))
    return Which(ids, service, code, _moment(since), _moment(until), **more)


def _moment(text: str) -> float | None:
    """Unix seconds of an ISO time, or of a duration ago."""
    if not text:
        return None
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text):
        return time.time() - float(match[1]) * _UNITS[match[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither an ISO time nor such as 2h") from error


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
