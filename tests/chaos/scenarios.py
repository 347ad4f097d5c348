"""The scenarios by name, each in a long form and in a short one for the test suite."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos import away, crowd, farewell, killers, kills, overload, poison, stops
from tests.chaos.ground import Plan
from tests.chaos.kills import Kills
from tests.chaos.ledger import Figures
from tests.chaos.model import Rules

Run = Callable[[Path], Awaitable[Figures]]

ONCE: Final[Mapping[str, Any]] = {"delivery": "exactly_once"}
LEAST: Final[Mapping[str, Any]] = {"delivery": "at_least_once"}
SEED = 20
LONG = Kills(records=100_000, events=30, seed=SEED, calm=8.0)
BUSY: Final = Rules(delay=0.001)
"""So slow that a worker always has hundreds of records in hand when something happens to it."""
SHORT = Kills(records=15_000, events=5, seed=SEED, calm=1.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done to the system, long and short; each takes the folder of its logs."""

    what: str
    long: Run
    short: Run


def _kills(stream: Mapping[str, Any], nodes: int = 1) -> Scenario:
    async def long(folder: Path) -> Figures:
        return await kills.run(Plan(folder, nodes=nodes, stream=stream, rules=BUSY), LONG)

    async def short(folder: Path) -> Figures:
        return await kills.run(Plan(folder, nodes=nodes, stream=stream, rules=BUSY), SHORT)

    where = f"{nodes} brokers" if nodes > 1 else "a broker"
    return Scenario(f"workers and {where} killed, {stream['delivery']}", long, short)


def _poison(stream: Mapping[str, Any]) -> Scenario:
    async def long(folder: Path) -> Figures:
        return await poison.run(Plan(folder, stream=stream, rules=BUSY), LONG)

    async def short(folder: Path) -> Figures:
        plan = Kills(records=5000, events=1, seed=SEED, calm=0.0)
        return await poison.run(Plan(folder, stream=stream, rules=BUSY), plan)

    return Scenario(f"1 % poison under kills, then replayed, {stream['delivery']}", long, short)


def _plain(what: str, run: Callable[[Plan], Awaitable[Figures]]) -> Scenario:
    async def always(folder: Path) -> Figures:
        return await run(Plan(folder, stream=ONCE, rules=BUSY))

    return Scenario(what, always, always)


def _training() -> Scenario:
    async def long(_: Path) -> Figures:
        # Imported here: it brings torch, which takes seconds.
        from tests.chaos import trainings

        return await trainings.run(kills=5, seed=SEED)

    async def short(_: Path) -> Figures:
        from tests.chaos import trainings

        return await trainings.run(kills=2, seed=SEED)

    return Scenario("a training killed again and again", long, short)


def _timed(
    what: str, run: Callable[[Plan, Any], Awaitable[Figures]], long: float, short: float
) -> Scenario:
    async def longer(folder: Path) -> Figures:
        return await run(Plan(folder, stream=ONCE, rules=BUSY), long)

    async def shorter(folder: Path) -> Figures:
        return await run(Plan(folder, stream=ONCE, rules=BUSY), short)

    return Scenario(what, longer, shorter)


ALL: Final[Mapping[str, Scenario]] = {
    "kills": _kills(LEAST),
    "kills-once": _kills(ONCE),
    "three": _kills(LEAST, nodes=3),
    "three-once": _kills(ONCE, nodes=3),
    "poison": _poison(LEAST),
    "poison-once": _poison(ONCE),
    "killers": _plain("a record that kills its worker, one that hangs it", killers.run),
    "training": _training(),
    "overload": _timed("ten times what a worker can do", overload.run, 120, 15),
    "crowd": _timed("more callers than a bridge takes", crowd.run, 30, 5),
    "away": _timed("the broker frozen, then dead, for a while", away.run, 30, 8),
    "farewell": _plain("a worker asked to end while the broker is dead", farewell.run),
    "stops": _timed("workers asked to end under load", stops.run, 20, 3),
}
