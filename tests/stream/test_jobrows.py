"""Which of two rows of a job is the newer one, and histories in parts."""

from __future__ import annotations

from typing import Any

import pytest

from ddstream.api.envelope import dumps
from ddstream.api.job import JobRecord
from ddstream.api.stream import JobRow
from ddstream.stream.trainings.fitting import fitting
from ddstream.stream.trainings.jobrows import (
    CHUNK_POINTS,
    CHUNK_VALUES,
    chunks,
    history_of,
    newer,
)


def row(epoch: int, holder: str, *, born: str = "one", number: int = 1) -> dict[str, Any]:
    made = JobRow(epoch=epoch, holder=holder, born=born, number=number, record={"service": "x"})
    return made.model_dump()


@pytest.mark.parametrize(
    ("old", "new", "taken"),
    [
        (None, row(0, "a"), True),
        (row(1, "b"), row(0, "a"), False),
        (row(0, "a"), row(1, "b"), True),
        (row(1, "b"), row(1, "b"), True),
        (row(1, "b"), row(1, "c"), False),
        (row(1, "b"), row(1, ""), True),
        (row(1, ""), row(1, "c"), False),
        (row(4, "b"), row(0, "a", born="two"), True),
        (row(0, "", number=3), row(0, "", number=2), False),
    ],
    ids=[
        "the first",
        "of an old attempt",
        "of the next attempt",
        "of the same worker",
        "the second claim of one attempt",
        "given up",
        "a late claim of what was given up",
        "of a namesake that was created later",
        "an older last number",
    ],
)
def test_a_row_follows_another_if_it_is_newer(old: Any, new: Any, taken: bool) -> None:
    assert newer(old, new) is taken


def test_a_history_comes_back_from_its_parts_whatever_the_lengths() -> None:
    many = [float(n) for n in range(2 * CHUNK_POINTS + 1)]
    points = {"loss": many, "acc": [0.5], "full": many[:CHUNK_POINTS]}
    parts = list(chunks(points))
    assert len(parts) == 3
    rows = {f"x/1/{n}": {"points": part} for n, part in enumerate(parts)}
    assert history_of(rows, "x", JobRow(number=1, chunks=3)).series == points
    assert list(chunks({})) == [{}]


def test_a_history_of_many_series_has_smaller_parts() -> None:
    points = {f"f1_{n}": [0.5] * 900 for n in range(1000)}
    parts = list(chunks(points))
    assert max(sum(map(len, part.values())) for part in parts) <= CHUNK_VALUES
    rows = {f"x/1/{n}": {"points": part} for n, part in enumerate(parts)}
    assert history_of(rows, "x", JobRow(number=1, chunks=len(parts))).series == points


def test_a_report_that_no_record_can_hold_loses_its_largest_parts_and_says_so() -> None:
    matrix = [[0.25] * 100] * 100
    record = JobRecord(
        "x",
        1,
        measure={"acc": 0.5, "cmfull": matrix},
        report={
            "measures": [{"acc": 0.5, "cmfull": matrix}, {"acc": 0.4, "cmfull": matrix}],
            "test_predictions": {"test_0": [[1.0] * 20_000]},
        },
        warnings=("one",),
    )
    whole = JobRow(number=1, record=record.to_json())
    assert fitting(whole, 1 << 20) is whole
    small = fitting(whole, 60_000)
    assert len(dumps(small.model_dump())) <= 60_000
    assert small.record["measure"] == {"acc": 0.5}
    told, _ = small.record["report"]["measures"]
    assert told["acc"] == 0.5
    assert "test_predictions" not in small.record["report"]
    assert small.record["warnings"][0] == "one"
    assert "test_predictions, cmfull" in small.record["warnings"][1]
    assert whole.record["report"]["test_predictions"]
