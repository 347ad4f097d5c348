"""The process of a folder's local broker, known by a pid file: looks it up and ends it."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

STOP_LIMIT = 15.0
STOPPED_BY_SIGNAL = (0, 128 + signal.SIGTERM, -signal.SIGTERM)


def properties_path(directory: Path) -> Path:
    """The broker's configuration."""
    return directory / "server.properties"


def pid_path(directory: Path) -> Path:
    """The file that says which process is the broker."""
    return directory / "kafka.pid"


def running_pid(directory: Path) -> int | None:
    """Id of the broker's process, if it runs; another process of that number is not it."""
    try:
        pid = int(pid_path(directory).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(properties_path(directory)) in command else None


def end_process(directory: Path) -> bool:
    """SIGTERM, SIGKILL after 15 s, and return at its end; False if no broker runs there."""
    pid = running_pid(directory)
    if pid is None:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The handle stays with the process that was looked at, even if its number is used anew.
        if running_pid(directory) == pid:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not select.select([handle], [], [], STOP_LIMIT)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [])
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
        pid_path(directory).unlink(missing_ok=True)
    return True
