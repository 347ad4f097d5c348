"""A real training whose worker and trainer are killed with -9, against an unbroken one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import trainings


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_killed_training_comes_out_as_an_unbroken_one(kafka: str, tmp_path: Path) -> None:
    figures = await trainings.survived(kafka, tmp_path, kills=2, seed=1)
    assert figures["kills"] == 2
