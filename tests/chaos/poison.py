"""Scenario c: records that fail among the good ones, under kills; then the cause is mended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.chaos import ledger
from tests.chaos.ground import Ground, Plan, conclude, ground
from tests.chaos.kills import FINISH_SECONDS, Kills, disturbed
from tests.chaos.ledger import Figures, Verdict, Violated
from tests.chaos.model import BROKEN, GOOD, POISON, Rules, number_of
from tests.kafka.commands import command

EVERY = 100
"""One record of so many is poison; of five times as many, one cannot be decoded."""
EXPECTED = {GOOD: 200, POISON: 500, BROKEN: 400}


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of the rejects when the model was mended."""

    replayed: int
    statuses: Counter[int]


def kind_of(number: int) -> int:
    """The kind of a record: spread over all keys, and so over all partitions."""
    if number % EVERY == 50:
        return POISON
    return BROKEN if number % (5 * EVERY) == 77 else GOOD


async def run(plan: Plan, kills: Kills) -> Figures:
    """Bad records are answered and kept, neighbours untouched; replayed, the mended are 200."""
    async with ground(plan) as parts:
        await parts.fleet.ready()
        await disturbed(parts, kills, kills.drawn(), kind_of)
        await parts.finished(FINISH_SECONDS)
        verdict = await parts.verdict()
        verdict.problems += await _wrong_statuses(parts)
        kept = await _kept(parts, verdict)
        mended = await _mended(parts, kept)
        verdict.problems += (await parts.verdict()).problems
        if mended.statuses != Counter({200: mended.replayed}):
            verdict.problems.append(f"after the replay: {dict(mended.statuses)}")
        figures: Figures = {
            "records": parts.feeder.sent,
            "events": kills.events,
            "rejects": kept.total(),
            "kept twice": kept.total() - len(kept),
            "replayed": mended.replayed,
        }
        return conclude(verdict, figures)


async def _wrong_statuses(parts: Ground) -> list[str]:
    answered = await parts.answered()
    wrong = [
        (result.number, result.status)
        for found in answered.values()
        for result in found
        if result.status != EXPECTED[kind_of(result.number)]
        or result.right != (kind_of(result.number) == GOOD)
    ]
    return [f"{len(wrong)} wrong answers: {wrong[:5]}"] if wrong else []


async def _kept(parts: Ground, verdict: Verdict) -> Counter[int]:
    """How often each bad record is in the rejects; each must be, and no good one."""
    records = await ledger.read(parts.connection, parts.topics.rejects)
    kept = Counter(number_of(r.value) for found in records.values() for r in found if r.value)
    bad = {number for number in range(parts.feeder.sent) if kind_of(number) != GOOD}
    if set(kept) != bad:
        missing, alien = bad - set(kept), set(kept) - bad
        verdict.problems.append(f"rejects: {len(missing)} missing, {len(alien)} of good records")
    if parts.plan.exactly_once and kept.total() != len(bad):
        verdict.problems.append(f"{kept.total() - len(bad)} rejects are there twice")
    return kept


async def _mended(parts: Ground, kept: Counter[int]) -> Mended:
    """Mend the model, start its workers anew and send the poison again, which is none now."""
    before = {p: len(found) for p, found in (await parts.answered()).items()}
    Rules(harmful="").write(parts.repository)
    for member in parts.fleet.members:
        await parts.fleet.stop(member)
        await parts.fleet.start(member)
    await _replay(parts)
    await parts.finished(FINISH_SECONDS)
    after = await parts.answered()
    statuses = Counter(r.status for p, found in after.items() for r in found[before[p] :])
    return Mended(sum(n for number, n in kept.items() if kind_of(number) == POISON), statuses)


async def _replay(parts: Ground) -> None:
    """`ddstream rejects replay`, for what failed in the model."""
    arguments = ("rejects", "replay", "--all", "--code", "1007")
    async with command(parts.connection.settings, *arguments) as replay:
        if code := await replay.ended():
            raise Violated([f"{arguments} ended with {code}", *replay.lines[-5:]], {})
