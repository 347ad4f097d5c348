"""The commands in this process, with what they print; their log does not outlive the test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
import pytest
from typer.testing import CliRunner

from ddstream.cli import cli, deepdetect_cli


@dataclass(frozen=True)
class Said:
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its lines of JSON."""
        return [orjson.loads(line) for line in self.out.splitlines()]

    def of(self, name: str) -> list[dict[str, Any]]:
        """The events of this name."""
        return [event for event in self.events if event["event"] == name]


Command: TypeAlias = Callable[..., Said]


@pytest.fixture(scope="module")
def deepdetect() -> Iterator[Command]:
    """Run `deepdetect ...`, or `ddstream ...` where `ddstream=True`."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)

    def run(*words: object, ddstream: bool = False) -> Said:
        app = cli if ddstream else deepdetect_cli
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    yield run
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(False)
