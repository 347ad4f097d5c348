"""Measures of texts: exact matches, and edits by the textbook's recursion."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.measures.reading import Readings, compute, edits, knows

short = st.text(alphabet="abc", max_size=6)


@cache
def slowly(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    return min(
        slowly(one[1:], other) + 1,
        slowly(one, other[1:]) + 1,
        slowly(one[1:], other[1:]) + (one[0] != other[0]),
    )


@given(short, short)
def test_edits_are_the_fewest(one: str, other: str) -> None:
    assert edits(one, other) == slowly(one, other) == edits(other, one)


def test_a_text_is_right_as_a_whole_or_wrong() -> None:
    readings = Readings(keeps=True)
    for read, truth in (("cat", "cat"), ("cut", "cat"), ("", ""), ("a", "")):
        readings.add(read, truth, 0.5)
    assert compute(["acc", "cer"], readings) == {"acc": 0.5, "cer": pytest.approx(2 / 6)}
    found = compute(["raw"], readings)["raw"]
    assert found["truths"] == ["cat", "cat", "", ""]
    assert found["estimations"] == ["cat", "cut", "", "a"]
    assert compute(["f1"], readings) == {}
    assert not knows("f1")


def test_nothing_that_was_read_has_no_measure() -> None:
    found = compute(["acc", "cer"], Readings())
    assert found["acc"] != found["acc"]
    assert found["cer"] != found["cer"]
    assert Readings().rows == []
