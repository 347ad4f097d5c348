"""Scenario f: the broker is away in mid-stream, frozen or dead; the workers wait for it."""

from __future__ import annotations

import asyncio
import time

from tests.chaos.ground import Ground, Plan, conclude, ground, until
from tests.chaos.ledger import Figures

NOTICED_SECONDS = 15.0
"""Until readiness must tell of a broker that is away."""
RESUMED_SECONDS = 60.0
RECORDS = 6000
"""Records around each absence: a third before, a third meanwhile, a third after."""


async def run(plan: Plan, seconds: float) -> Figures:
    """Nothing may crash or be lost, readiness must tell the reason, and all resumes by itself."""
    async with ground(plan) as parts:
        await parts.fleet.ready()
        figures: Figures = {"away s": seconds}
        problems: list[str] = []
        for how in ("frozen", "killed"):
            problems += await _away(parts, how, seconds, figures)
        await parts.finished(RESUMED_SECONDS)
        verdict = await parts.verdict()
        verdict.problems += problems
        return conclude(verdict, {**figures, "records": parts.feeder.sent})


async def _away(parts: Ground, how: str, seconds: float, figures: Figures) -> list[str]:
    await parts.feeder.send(RECORDS // 3)
    sending = asyncio.create_task(parts.feeder.send(RECORDS // 3))
    began = time.monotonic()
    await (_freeze(parts) if how == "frozen" else parts.cluster.kill())
    noticed = await until(lambda: _unready(parts), NOTICED_SECONDS)
    reasons = await parts.fleet.reasons(parts.fleet.members[0])
    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
    await (_thaw(parts) if how == "frozen" else parts.cluster.start())
    resumed = await until(lambda: _ready(parts), RESUMED_SECONDS)
    await sending
    await parts.feeder.send(RECORDS // 3)
    figures[f"{how}: noticed s"] = round(noticed, 1)
    figures[f"{how}: ready again s"] = round(resumed, 1)
    figures[f"{how}: reason"] = "; ".join(reasons)[:120]
    return [
        *([f"{how}: ready all the time"] if noticed == float("inf") else []),
        *([f"{how}: not ready again"] if resumed == float("inf") else []),
    ]


async def _freeze(parts: Ground) -> None:
    parts.cluster.freeze()


async def _thaw(parts: Ground) -> None:
    parts.cluster.thaw()


async def _unready(parts: Ground) -> bool:
    return all([await parts.fleet.reasons(member) for member in parts.fleet.members])


async def _ready(parts: Ground) -> bool:
    return not any([await parts.fleet.reasons(member) for member in parts.fleet.members])
