"""Who may write to a repository while it is trained: the newest attempt, on any machine.

A file in the repository names the training, its attempt, and the checkpoint that it has reached.
It is read and compared under an exclusive lock right before anything takes its place, so a trainer
that was given up, and does not know it yet, changes nothing any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

FENCE = ".fence"
LOCK_SECONDS = 60.0
"""How long somebody else's write is waited for; it holds the lock for one rename."""
MOST_BYTES = 4096
LOCKLESS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What a file system without locks says: there the comparison alone must do."""


class Fenced(Exception):
    """Another trainer has taken over the repository: this one may not write any more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the file says. `run` names a training through all its attempts; `epoch` counts these.

    `reached` is the iteration of its last checkpoint, 0 where it begins anew; None: not begun.
    """

    run: str
    epoch: int
    reached: int | None = None


class Fence:
    """The place of one attempt in its repository. It begins with `claim`."""

    def __init__(self, folder: Path, run: str, epoch: int) -> None:
        self._path = folder / FENCE
        self._claim = Claim(run, epoch)

    @property
    def run(self) -> str:
        """See Claim."""
        return self._claim.run

    @property
    def reached(self) -> int | None:
        """See Claim."""
        return self._claim.reached

    def claim(self) -> None:
        """Take the repository over; an earlier attempt at the same training hands down what it
        reached. Raises Fenced if a later one is there."""
        with self._locked() as file:
            found, own = _read(file), self._claim
            if found is not None and found.run == own.run:
                if found.epoch > own.epoch:
                    raise Fenced(f"attempt {found.epoch} has begun, this is {own.epoch}")
                own = Claim(own.run, own.epoch, found.reached)
            _write(file, own)
            self._claim = own

    def reach(self, iteration: int) -> None:
        """Note a checkpoint that is complete: from there the next attempt goes on."""
        with self.held() as file:
            self._claim = Claim(self._claim.run, self._claim.epoch, iteration)
            _write(file, self._claim)

    @contextmanager
    def held(self) -> Iterator[int]:
        """While this lasts nobody takes over. Raises Fenced if somebody has."""
        with self._locked() as file:
            found = _read(file)
            if found is None or (found.run, found.epoch) != (self._claim.run, self._claim.epoch):
                raise Fenced(
                    "the repository was cleared"
                    if found is None
                    else f"{found.run}, attempt {found.epoch}, has taken the repository over"
                )
            yield file

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
        try:
            _lock(file)
            yield file
        finally:
            os.close(file)


def reached_by(run: str, folder: Path) -> int:
    """The iteration of the last checkpoint of a training; 0 if it has none."""
    with suppress(OSError), (folder / FENCE).open("rb") as file:
        claim = _read(file.fileno())
        if claim is not None and claim.run == run:
            return claim.reached or 0
    return 0


def _lock(file: int) -> None:
    # Not a wait in the kernel: a holder that hangs must be an error, not a silence.
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise Fenced("another trainer holds the repository's lock") from error
        except OSError as error:
            if error.errno not in LOCKLESS:
                raise
            return
        time.sleep(0.02)


def _read(file: int) -> Claim | None:
    try:
        return Claim(**orjson.loads(os.pread(file, MOST_BYTES, 0)))
    except (orjson.JSONDecodeError, TypeError):
        return None


def _write(file: int, claim: Claim) -> None:
    # In place, since the lock is this very file's; one small write is not torn by a kill.
    content = orjson.dumps(asdict(claim)) + b"\n"
    os.pwrite(file, content.ljust(os.fstat(file).st_size), 0)
    os.fsync(file)
