"""The short forms of the chaos scenarios; `make chaos` runs the long ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.scenarios import ALL

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.timeout(240)]


async def test_kills_leave_nothing_unanswered_and_exactly_once_nothing_is_answered_twice(
    tmp_path: Path,
) -> None:
    # Side by side: most of their time is spent waiting for the group to miss a member.
    await asyncio.gather(
        ALL["kills"].short(tmp_path / "least"), ALL["kills-once"].short(tmp_path / "once")
    )


async def test_poison_is_kept_once_and_answered_when_its_cause_is_mended(tmp_path: Path) -> None:
    await ALL["poison-once"].short(tmp_path)


async def test_more_callers_than_a_bridge_admits_are_told_when_to_come_back(
    tmp_path: Path,
) -> None:
    await ALL["crowd"].short(tmp_path)


async def test_a_broker_that_is_away_is_told_by_readiness_and_waited_for(tmp_path: Path) -> None:
    await ALL["away"].short(tmp_path)


async def test_workers_that_are_asked_to_end_under_load_leave_nothing_open(tmp_path: Path) -> None:
    await ALL["stops"].short(tmp_path)
