"""The judge of the chaos runs finds what is missing, alien, twice, or out of order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chaos.ledger import Request, Result, Verdict, judge


def asked(offsets: Sequence[int]) -> dict[int, list[Request]]:
    return {0: [Request(offset, offset + 1000, b"k", 0) for offset in offsets]}


def answered(offsets: Sequence[int]) -> dict[int, list[Result]]:
    return {0: [Result(offset, offset + 1000, b"k", 0, 200, True) for offset in offsets]}


def verdict(answers: Sequence[int], *, exactly_once: bool = False) -> Verdict:
    return judge(asked(range(5)), answered(answers), exactly_once=exactly_once)


def test_each_request_answered_once_in_order_is_well() -> None:
    assert verdict([0, 1, 2, 3, 4], exactly_once=True) == Verdict()


def test_a_repeated_tail_is_counted_and_well_at_least_once() -> None:
    found = verdict([0, 1, 2, 1, 2, 3, 4])
    assert found == Verdict([], repeats=2, rewinds=1, longest=2)


def test_a_repeated_tail_is_a_violation_exactly_once() -> None:
    assert verdict([0, 1, 2, 1, 2, 3, 4], exactly_once=True).problems


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([0, 1, 3, 4], "1 unanswered"),
        ([0, 1, 2, 3, 4, 5], "1 answers without a request"),
        ([0, 2, 1, 3, 4], "order broken"),
        # Not a tail: the later answer came first.
        ([0, 1, 3, 2, 3, 4], "order broken"),
    ],
)
def test_what_is_missing_alien_or_out_of_order_is_named(answers: list[int], reason: str) -> None:
    (problem,) = verdict(answers).problems
    assert reason in problem
