"""Scenario a, b: workers killed, brokers killed and stopped, at random moments under load."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.feeder import KindOf, always_good
from tests.chaos.ground import Ground, Plan, conclude, ground
from tests.chaos.ledger import Figures

# In this order, so that a short form has its share of each.
KINDS = ("worker -9", "broker -9", "worker -9", "broker stop", "worker stop", "worker -9")
# A worker that comes to after its partitions were given away writes on what it had. Only
# transactions fence it: answered at least once, a partition's answers may then mingle.
FENCED = (*KINDS, "worker frozen")
FROZEN_SECONDS = 13.0
"""Longer than the group waits for a silent member."""
FINISH_SECONDS = 300.0
BURST_SECONDS = 0.8
"""About as long as a share takes: an event falls into it."""


@dataclass(frozen=True, slots=True)
class Kills:
    """How many records and events; after each event up to `calm` seconds pass before the next
    share of the records."""

    records: int
    events: int
    seed: int
    calm: float = 3.0

    def drawn(self, kinds: Sequence[str] = KINDS) -> list[str]:
        """The events in a random order that the seed decides."""
        events = [kinds[number % len(kinds)] for number in range(self.events)]
        random.Random(self.seed).shuffle(events)
        return events


async def run(plan: Plan, kills: Kills) -> Figures:
    """Each record must be answered, in order; once, if the plan says so."""
    async with ground(plan) as parts:
        await parts.fleet.ready()
        began = time.monotonic()
        events = kills.drawn(FENCED if plan.exactly_once else KINDS)
        await disturbed(parts, kills, events)
        fed = time.monotonic() - began
        recovered = await parts.finished(FINISH_SECONDS)
        verdict = await parts.verdict()
        figures: Figures = {
            "records": parts.feeder.sent,
            **Counter(events),
            "seconds": round(fed + recovered, 1),
            "last backlog s": round(recovered, 1),
            "sent again": parts.feeder.again,
        }
        return conclude(verdict, figures)


async def disturbed(
    parts: Ground, kills: Kills, events: Sequence[str], kind_of: KindOf = always_good
) -> None:
    """Send the records in shares, one an event, and let each event fall into its share."""
    moments = random.Random(kills.seed + 1)
    share = kills.records // (len(events) + 1)
    for event in events:
        sending = asyncio.create_task(parts.feeder.send(share, kind_of))
        await asyncio.sleep(moments.uniform(0.05, BURST_SECONDS))
        await _happen(parts, event, moments)
        parts.tell(f"{event}: over")
        await sending
        parts.tell("its share is sent")
        await asyncio.sleep(moments.uniform(0.0, kills.calm))
    await parts.feeder.send(kills.records - parts.feeder.sent, kind_of)


async def _happen(parts: Ground, event: str, moments: random.Random) -> None:
    who, _, how = event.partition(" ")
    if who == "worker":
        member = moments.choice(parts.fleet.members)
        parts.tell(f"{event}: {member.number}")
        if how == "frozen":
            await parts.fleet.freeze(member, FROZEN_SECONDS)
            return
        await (parts.fleet.kill(member) if how == "-9" else parts.fleet.stop(member))
        await asyncio.sleep(moments.uniform(0.0, 1.0))
        await parts.fleet.start(member)
        return
    node = moments.randrange(len(parts.cluster.nodes))
    parts.tell(f"{event}: {node}")
    await (parts.cluster.kill(node) if how == "-9" else parts.cluster.stop(node))
    await asyncio.sleep(moments.uniform(0.0, 1.0))
    await parts.cluster.start(node)
