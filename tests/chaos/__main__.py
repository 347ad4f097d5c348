"""`python -m tests.chaos [--only NAME] [--short]`: what breaks when everything around breaks.

Prints a table of figures, writes build/chaos.json, and ends with 1 if a promise was broken. The
logs of each scenario's brokers and workers stay in build/chaos/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos import scenarios
from tests.chaos.ledger import Figures, Violated

FOLDER = Path("build") / "chaos"
REPORT = Path("build") / "chaos.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scenario measured, and which promises it saw broken."""

    scenario: str
    seconds: float
    figures: Figures
    problems: tuple[str, ...] = ()


async def outcome(name: str, run: Callable[[Path], Awaitable[Figures]]) -> Outcome:
    """Run a scenario in a fresh folder; whatever it raises is a problem."""
    folder = (FOLDER / name).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    try:
        figures, problems = await run(folder), ()
    except Violated as violated:
        return Outcome(name, _since(began), violated.figures, tuple(violated.problems))
    except Exception as error:
        return Outcome(name, _since(began), {}, (f"{type(error).__name__}: {error}",))
    return Outcome(name, _since(began), figures, problems)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def table(outcomes: list[Outcome]) -> Table:
    """All outcomes, one a row."""
    shown = Table(title="ddstream under chaos", show_lines=True)
    for name in ("scenario", "seconds", "figures", "broken promises"):
        shown.add_column(name, justify="right" if name == "seconds" else "left")
    for each in outcomes:
        figures = ", ".join(f"{name} {value}" for name, value in each.figures.items())
        broken = "\n".join(each.problems) or "none"
        style = "red" if each.problems else None
        shown.add_row(each.scenario, f"{each.seconds:g}", figures, broken, style=style)
    return shown


def main() -> int:
    """Run the scenarios; 0 if all promises were kept."""
    chosen: Mapping[str, scenarios.Scenario] = scenarios.ALL
    listed = "; ".join(f"{name}: {each.what}" for name, each in chosen.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=listed)
    parser.add_argument("--only", action="append", choices=list(chosen), help="a scenario's name")
    parser.add_argument("--short", action="store_true", help="few events, in a minute each")
    options = parser.parse_args()
    # What it tells of brokers that are away is what these runs are about.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console, outcomes = Console(), []
    for name in options.only or list(chosen):
        with console.status(f"{name}: {chosen[name].what}"):
            run = chosen[name].short if options.short else chosen[name].long
            outcomes.append(asyncio.run(outcome(name, run)))
        console.print(f"{name}: {outcomes[-1].seconds:g} s")
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(json.dumps([asdict(each) for each in outcomes], indent=2) + "\n")
    console.print(table(outcomes))
    return 1 if any(each.problems for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
