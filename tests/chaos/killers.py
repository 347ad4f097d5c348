"""Scenario c, the second half: a record that kills its worker, and one that hangs it."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos import ledger
from tests.chaos.ground import Plan, conclude, ground
from tests.chaos.ledger import Figures
from tests.chaos.model import GOOD, HANGING, KILLER, number_of

RECORDS = 2000
BAD = {600: KILLER, 1201: HANGING}
FINISH_SECONDS = 400.0
"""Three deaths a bad record, and each is noticed by the group after ten seconds."""


def kind_of(number: int) -> int:
    """The kind of a record."""
    return BAD.get(number, GOOD)


async def run(plan: Plan) -> Figures:
    """A record that kills its worker and one that hangs it: both answered and kept, as are all."""
    stream = {**plan.stream, "forward_timeout": 3.0}
    plan = replace(plan, stream=stream, supervised=True)
    async with ground(plan) as parts:
        await parts.fleet.ready()
        await parts.feeder.send(RECORDS, kind_of)
        took = await parts.finished(FINISH_SECONDS)
        verdict = await parts.verdict()
        answered = await parts.answered()
        statuses = {r.number: r.status for found in answered.values() for r in found}
        bad = {number for number, status in statuses.items() if status != 200}
        if bad != set(BAD) or {statuses[number] for number in bad} != {500}:
            verdict.problems.append(f"not 200: {[(n, statuses[n]) for n in sorted(bad)[:5]]}")
        records = await ledger.read(parts.connection, parts.topics.rejects)
        kept = {number_of(r.value) for found in records.values() for r in found}
        if kept != set(BAD):
            verdict.problems.append(f"rejects hold {sorted(kept)}")
        figures: Figures = {
            "records": parts.feeder.sent,
            "deaths of workers": len(parts.fleet.deaths),
            "seconds": round(took, 1),
        }
        return conclude(verdict, figures)
