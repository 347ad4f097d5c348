"""pytest plugin: the `promise(id, ...)` marker, checked against the ids, counted at the end."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

PROMISES = Path(__file__).with_name("promises.txt")
CLAIMS = "promises"
"""The property of a report that holds the ids of its test."""


class PromiseCount:
    """Which promises a run has kept: an id needs a test that passed and none that failed."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    @property
    def kept(self) -> set[str]:
        """The ids that count."""
        return self.passed - self.failed

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            unknown = sorted(set(claimed(item)) - self.known)
            if unknown:
                raise pytest.UsageError(f"{item.nodeid}: not in {PROMISES.name}: {unknown}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        # With the report they reach the process that counts, where several run tests.
        report.user_properties.append((CLAIMS, claimed(item)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        own = [each for name, each in report.user_properties if name == CLAIMS]
        ids = [str(id) for each in own if isinstance(each, list) for id in each]
        if report.failed:
            self.failed.update(ids)
        elif report.passed and report.when == "call":
            self.passed.update(ids)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"promises: {len(self.kept)} of {len(self.known)}")


def claimed(item: pytest.Item) -> list[str]:
    """The ids that a test claims."""
    return [str(id) for mark in item.iter_markers("promise") for id in mark.args]


def read_promises(path: Path = PROMISES) -> frozenset[str]:
    """The ids of the documented promises, one a line."""
    return frozenset(path.read_text().split())


def pytest_configure(config: pytest.Config) -> None:
    """Register one count a run."""
    config.pluginmanager.register(PromiseCount(read_promises()), "promise-count")
