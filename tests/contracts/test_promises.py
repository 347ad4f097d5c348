"""The promise marker: which ids count, and that a misspelt one stops the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.contracts.plugin import PROMISES, read_promises

pytest_plugins = ["pytester"]

SUITE = """
import pytest

@pytest.mark.promise("services.mllib", "services.type")
def test_holds(): pass

@pytest.mark.promise("services.type")
def test_breaks(): assert False

@pytest.mark.promise("services.description")
@pytest.mark.skip
def test_skipped(): pass
"""


def prepare(pytester: pytest.Pytester, suite: str) -> None:
    folder = Path(__file__).parent
    for name in ("plugin.py", "promises.txt"):
        shutil.copy(folder / name, pytester.path / name)
    pytester.makeconftest('pytest_plugins = ["plugin"]')
    pytester.makeini("[pytest]\nmarkers = promise(id): a promise")
    pytester.makepyfile(suite)


def test_the_list_holds_each_documented_id_once() -> None:
    lines = PROMISES.read_text().split()
    assert len(lines) == len(read_promises()) == 411


def test_an_id_counts_with_a_passing_test_and_no_failing_one(pytester: pytest.Pytester) -> None:
    prepare(pytester, SUITE)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["promises: 1 of 411"])


def test_an_unknown_id_stops_the_collection(pytester: pytest.Pytester) -> None:
    prepare(pytester, SUITE.replace("services.mllib", "services.mlib"))
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_holds: not in promises.txt: *services.mlib*"])
