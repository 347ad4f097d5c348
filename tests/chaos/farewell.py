"""Scenario f, its hardest moment: a worker is asked to end while the broker is dead."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from tests.chaos.ground import Plan, conclude, ground
from tests.chaos.ledger import Figures

RECORDS = 3000
END_SECONDS = 85.0
"""Fifty to finish what was taken, and the farewells to a broker that does not answer."""
FINISH_SECONDS = 120.0


async def run(plan: Plan) -> Figures:
    """It must end with 0 in bounded time, and the next worker answers what it could not."""
    async with ground(replace(plan, workers=1)) as parts:
        await parts.fleet.ready()
        (member,) = parts.fleet.members
        sending = asyncio.create_task(parts.feeder.send(RECORDS))
        await asyncio.sleep(0.2)
        await parts.cluster.kill()
        began = time.monotonic()
        code = await parts.fleet.stop(member)
        took = time.monotonic() - began
        await parts.cluster.start()
        await parts.fleet.start(member)
        await sending
        await parts.finished(FINISH_SECONDS)
        verdict = await parts.verdict()
        if code or took > END_SECONDS:
            verdict.problems.append(f"ended with {code} after {took:.0f} s")
        return conclude(verdict, {"records": parts.feeder.sent, "ended after s": round(took, 1)})
