"""A command at a terminal of its own, as a person sees it and presses keys."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ddstream.settings import child_environment

PATIENCE = 200.0
CTRL_C = b"\x03"
_OPENED = 'exec "$@" <"$NAME_OF_TTY" >"$NAME_OF_TTY" 2>&1'
"""The first terminal that the leader of a session opens is its own, and sends it signals."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """The screen and the keys of a running command; `far` is the command's side of it."""

    def __init__(self, process: subprocess.Popen[bytes], near: int, far: int) -> None:
        self._process = process
        self._near = near
        self._far: int | None = far
        self._shown = b""
        self._ends = time.monotonic() + PATIENCE

    @property
    def shown(self) -> str:
        """All that was written so far, without what only moves the cursor."""
        return _ESCAPES.sub("", self._shown.decode(errors="replace"))

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._near, key)

    def shows(self, pattern: str) -> None:
        """Wait until this was written; fails if the command ends before."""
        while not re.search(pattern, self.shown):
            assert self._read(), self.shown[-2000:]

    def ends(self) -> int:
        """Wait for its end; the exit code."""
        while self._read():
            pass
        return self._process.wait(PATIENCE)

    def _read(self) -> bool:
        """Take in what comes next; False at the end."""
        left = self._ends - time.monotonic()
        ready, _, _ = select.select([self._near], [], [], max(0.0, left))
        if not ready:
            raise TimeoutError(self.shown[-2000:])
        try:
            found = os.read(self._near, 1 << 16)
        except OSError:
            return False
        # It has opened its side; when that is closed again, this one has to hear of it.
        self.leave()
        self._shown += found
        return bool(found)

    def leave(self) -> None:
        """Hold the command's side no longer."""
        if self._far is not None:
            os.close(self._far)
            self._far = None


@contextmanager
def at_terminal(command: str, words: Sequence[object]) -> Iterator[Terminal]:
    """`deepdetect ...` or `ddstream ...` at a terminal; it is killed if it still runs."""
    program = str(Path(sys.executable).with_name(command))
    near, far = pty.openpty()
    environment = child_environment(
        TERM="xterm-256color", COLUMNS="100", LINES="40", NAME_OF_TTY=os.ttyname(far)
    )
    process = subprocess.Popen(
        ["/bin/sh", "-c", _OPENED, "sh", program, *map(str, words)],
        env=environment,
        start_new_session=True,
    )
    terminal = Terminal(process, near, far)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        terminal.leave()
        os.close(near)
