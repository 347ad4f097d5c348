"""Scenario e, over REST: more callers at a bridge than it lets in."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import aiohttp

from tests.chaos.ground import SERVICE, Plan, ground
from tests.chaos.ledger import Figures, Violated
from tests.chaos.model import Rules, encode
from tests.kafka.commands import command

CAPACITY = 100
"""Calls a second that the slowed model can do."""
ADMITTED = 32
"""Calls that the bridge has in flight at most."""
CALLERS = 10 * ADMITTED


@dataclass(slots=True)
class Crowd:
    """What became of all calls."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """How long the answered calls took."""
    problems: list[str] = field(default_factory=list)


async def run(plan: Plan, seconds: float) -> Figures:
    """Each call is answered 200 in bounded time, or 429 with the time to come back; none 5xx."""
    plan = replace(plan, workers=1, rules=Rules(delay=1 / CAPACITY))
    async with ground(plan) as parts:
        settings = parts.connection.settings
        arguments = ("bridge", "--port", "0", "--max-in-flight", str(ADMITTED))
        async with command(settings, *arguments) as bridge:
            url = await bridge.says(r"serving (http://[^,\s]+)")
            await parts.fleet.ready()
            crowd = Crowd()
            async with aiohttp.ClientSession(
                url, connector=aiohttp.TCPConnector(limit=0)
            ) as session:
                await _one(session, 0, Crowd())
                end = time.monotonic() + seconds
                await asyncio.gather(
                    *(_calls(session, crowd, number, end) for number in range(CALLERS))
                )
            if code := await bridge.end():
                crowd.problems.append(f"the bridge ended with {code}")
    return _judged(crowd)


async def _calls(session: aiohttp.ClientSession, crowd: Crowd, number: int, end: float) -> None:
    while time.monotonic() < end:
        pause = await _one(session, number, crowd)
        await asyncio.sleep(pause)


async def _one(session: aiohttp.ClientSession, number: int, crowd: Crowd) -> float:
    """Call once; the seconds after which to come back."""
    body = {"service": SERVICE, "data": [base64.b64encode(encode(number)).decode()]}
    began = time.monotonic()
    async with session.post("/predict", json=body) as answer:
        content = await answer.json()
        crowd.statuses[answer.status] += 1
        if answer.status == 200:
            crowd.seconds.append(time.monotonic() - began)
            if content["body"]["predictions"][0]["vals"] != [number]:
                crowd.problems.append(f"the answer of {number} is another's")
            return 0.0
        if answer.status == 429 and "Retry-After" not in answer.headers:
            crowd.problems.append("a 429 without Retry-After")
        return float(answer.headers.get("Retry-After", "1"))


def _judged(crowd: Crowd) -> Figures:
    if strange := set(crowd.statuses) - {200, 429}:
        crowd.problems.append(f"statuses {sorted(strange)}")
    if not crowd.statuses[429]:
        crowd.problems.append(f"{CALLERS} callers at once and none was refused")
    took = sorted(crowd.seconds)
    figures: Figures = {
        "callers": CALLERS,
        "in flight at most": ADMITTED,
        "statuses": str(dict(crowd.statuses)),
        "p50 of 200 ms": round(took[len(took) // 2] * 1e3) if took else -1,
        "most of 200 ms": round(took[-1] * 1e3) if took else -1,
    }
    if crowd.problems:
        raise Violated(sorted(set(crowd.problems)), figures)
    return figures
