"""Scenario e: ten times what a worker can do, in records of 100 KB: memory, and recovery."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from ddstream.background import Background
from ddstream.settings import MIB
from tests.chaos import ledger
from tests.chaos.ground import Ground, Plan, conclude, ground
from tests.chaos.ledger import Figures, Request, Result
from tests.chaos.model import Rules

SIZE = 100_000
CAPACITY = 20
"""Records a second that the slowed model can do."""
TIMES = 10
PROBES = 12
WANTED_SECONDS = 2.0
"""After so long nobody wants an answer, in the half with deadlines."""
RECOVERY_SECONDS = 5.0
DRAIN_SECONDS = 300.0
GROWTH = 512 * MIB
"""Most that a worker may grow above what it holds at ease: what it takes in flight (256 MiB), what
its consumer fetched ahead, and their copies on the way."""


@dataclass(slots=True)
class Memory:
    """Bytes that the worker held: at ease, and sampled from then on."""

    at_ease: int
    samples: list[int] = field(default_factory=lambda: [0])

    def figures(self) -> Figures:
        """In MiB."""
        return {
            "resident at ease MiB": self.at_ease // MIB,
            "resident most MiB": max(self.samples) // MIB,
        }

    def problems(self) -> list[str]:
        """Whether it grew too much."""
        growth = max(self.samples) - self.at_ease
        return [f"the worker grew by {growth // MIB} MiB"] if growth > GROWTH else []


async def run(plan: Plan, seconds: float) -> Figures:
    """`seconds` of overload, the second half with deadlines: bounded memory, quick recovery."""
    # The product's own limit, since what is fetched ahead follows from it.
    plan = replace(plan, workers=1, max_request_bytes=32 * MIB)
    async with ground(plan) as parts:
        await parts.fleet.ready()
        slow(parts)
        at_ease = await _probes(parts)
        figures: Figures = {"offered 1/s": CAPACITY * TIMES, "capacity 1/s": CAPACITY}
        async with _watched(parts) as memory:
            figures |= await _flooded(parts, seconds / 2)
            after_flood = await _probes(parts)
            hurried, recovered = await _hurried(parts, seconds / 2)
            after_hurry = await _probes(parts)
        asked, answered = await parts.asked(), await parts.answered()
        verdict = ledger.judge(asked, answered, exactly_once=plan.exactly_once)
        verdict.problems += [*memory.problems(), *parts.fleet.deaths]
        if recovered > RECOVERY_SECONDS:
            verdict.problems.append(f"recovered only after {recovered:.1f} s")
        statuses = _statuses(answered, hurried)
        if set(statuses) - {200, 504}:
            verdict.problems.append(f"statuses {statuses}")
        medians = [_median(asked, answered, n) for n in (at_ease, after_flood, after_hurry)]
        if max(medians) > 3 * medians[0] + 50:
            verdict.problems.append("the latency is not what it was")
        return conclude(
            verdict,
            {
                **figures,
                **memory.figures(),
                "with deadlines": str(dict(statuses)),
                "recovered s": round(recovered, 1),
                "p50 at ease, after, after ms": str(medians),
            },
        )


def slow(parts: Ground) -> None:
    """Make the model as slow as `CAPACITY` says."""
    Rules(delay=1 / CAPACITY).write(parts.repository)


async def _probes(parts: Ground) -> range:
    """Ids of single records that were sent one by one, slower than the model is."""
    first = parts.feeder.sent
    for _ in range(PROBES):
        await parts.feeder.flood(1, 0.01, SIZE)
        await asyncio.sleep(4 / CAPACITY)
    return range(first, parts.feeder.sent)


async def _flooded(parts: Ground, seconds: float) -> Figures:
    """Overload with records that everybody still wants; then the model is quick again."""
    await parts.feeder.flood(CAPACITY * TIMES, seconds, SIZE)
    backlog = await parts.lag()
    Rules().write(parts.repository)
    drained = await parts.finished(DRAIN_SECONDS)
    slow(parts)
    return {"backlog": backlog, "drained 1/s": round(backlog / max(drained, 0.1))}


async def _hurried(parts: Ground, seconds: float) -> tuple[range, float]:
    """Overload with records that are soon not wanted: their ids, and the seconds from the last
    one until all is answered."""
    first = parts.feeder.sent
    await parts.feeder.flood(CAPACITY * TIMES, seconds, SIZE, deadline=WANTED_SECONDS)
    return range(first, parts.feeder.sent), await parts.finished(DRAIN_SECONDS)


@asynccontextmanager
async def _watched(parts: Ground) -> AsyncIterator[Memory]:
    (worker,) = parts.fleet.members
    memory = Memory(worker.resident())

    async def sample() -> None:
        while True:
            memory.samples.append(worker.resident())
            await asyncio.sleep(0.2)

    background = Background()
    background.spawn(sample())
    try:
        yield memory
    finally:
        await background.cancel()


def _statuses(answered: Mapping[int, Sequence[Result]], numbers: range) -> Counter[int]:
    return Counter(r.status for found in answered.values() for r in found if r.number in numbers)


def _median(
    asked: Mapping[int, Sequence[Request]],
    answered: Mapping[int, Sequence[Result]],
    numbers: range,
) -> int:
    return round(ledger.latency(asked, answered, numbers) * 1e3)
