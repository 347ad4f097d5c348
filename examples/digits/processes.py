"""Child processes that announce themselves: started one after the other, ended in reverse."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 120.0
"""Seconds that a process has to announce itself, and as many to end when it is told to."""


class ProcessFailedError(RuntimeError):
    """A process ended before it was ready; the text has the end of its log."""


class Processes:
    """Runs commands until the end of `with`; what they log is kept as NAME.log in a folder."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._running:
            _end(self._running.pop())

    def start(self, name: str, command: Sequence[str], ready: str) -> str:
        """Start a command, wait for a line of its output that matches `ready`, and return the
        match's first group. Raises ProcessFailedError if it ends without one."""
        log = self._logs / f"{name}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Ctrl-C is for the demo alone: it ends the others in the right order.
                start_new_session=True,
            )
        self._running.append(process)
        found = _announcement(process, re.compile(ready))
        if found is None:
            last = "\n".join(log.read_text().splitlines()[-15:])
            raise ProcessFailedError(f"{name} did not start: {' '.join(command)}\n{last}")
        return found

    def pids(self) -> list[int]:
        """The process ids, in the order of their start."""
        return [process.pid for process in self._running]


def _announcement(process: subprocess.Popen[str], ready: re.Pattern[str]) -> str | None:
    assert process.stdout is not None
    impatience = threading.Timer(PATIENCE, process.kill)
    impatience.start()
    try:
        matches = (ready.search(line) for line in process.stdout)
        found = next(filter(None, matches), None)
        return found and found[1]
    finally:
        impatience.cancel()


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
