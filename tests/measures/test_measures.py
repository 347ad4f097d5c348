"""What all measures share: examples in their docstrings, means over test sets."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from ddstream.measures import averaged


@pytest.mark.parametrize(
    "name",
    ["", ".classification", ".regression", ".multilabel", ".detection", ".ranking", ".request"],
)
def test_the_examples_of_the_docstrings_hold(name: str) -> None:
    found = doctest.testmod(import_module(f"ddstream.measures{name}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_the_mean_over_test_sets_takes_doubles_only() -> None:
    results = [
        {"acc": 1.0, "test_id": 0, "test_name": "a", "cmdiag": [1.0], "mcc": 0.5},
        {"acc": 0.0, "test_id": 1, "test_name": "b", "cmdiag": [0.0]},
    ]
    assert averaged(results) == {"acc": 0.5, "mcc": 0.25}
