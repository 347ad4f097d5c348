"""Scenario g: workers that are asked to end under load, again and again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.chaos.ground import Ground, Plan, conclude, ground
from tests.chaos.ledger import Figures

FINISH_SECONDS = 120.0
SHARE = 1500
"""Records that are sent around each stop."""


async def run(plan: Plan, times: int) -> Figures:
    """Each worker must end with 0, leave nothing unanswered and answer nothing twice."""
    async with ground(replace(plan, workers=2)) as parts:
        await parts.fleet.ready()
        codes = [await _stopped_under_load(parts, number) for number in range(times)]
        recovered = await parts.finished(FINISH_SECONDS)
        verdict = await parts.verdict()
        if any(codes):
            verdict.problems.append(f"exit codes {codes}")
        # A worker that drains commits what it answered: its successor begins right there.
        if verdict.repeats:
            verdict.problems.append(f"{verdict.repeats} answers were given twice")
        figures: Figures = {
            "stops": times,
            "records": parts.feeder.sent,
            "last backlog s": round(recovered, 1),
        }
        return conclude(verdict, figures)


async def _stopped_under_load(parts: Ground, number: int) -> int:
    """Stop one of the two workers in the middle of a share; the exit code."""
    member = parts.fleet.members[number % 2]
    sending = asyncio.create_task(parts.feeder.send(SHARE))
    await asyncio.sleep(0.1)
    code = await parts.fleet.stop(member)
    await parts.fleet.start(member)
    await sending
    # The next stop must meet workers that serve, not ones that still start.
    await parts.fleet.ready()
    return code
