"""One training seen from its parent: what it is made of, its child process, how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ddstream.api.envelope import Json, dumps
from ddstream.api.job import JobChange, JobRecord, JobStatus, failed
from ddstream.api.service import Parameters
from ddstream.connectors.protocol import Limits
from ddstream.errors import InternalError
from ddstream.logs import service_log
from ddstream.roots import Roots
from ddstream.settings import child_environment

STOP = b"stop\n"
LINE_LIMIT = 1 << 28
"""Most bytes of one message: a confusion matrix of a thousand classes has millions."""
LEAVE_WITHIN = 20.0
"""Seconds that a child has to exit after its last word."""
LAST_WORDS = 20

OnChange = Callable[[JobChange], None]


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """All that a training is made of; it travels to the child as one JSON line.

    `parameters` are the creation's with the request's on top. `run` names the training through all
    its attempts, and `epoch` counts those: a later one goes on from the checkpoint that the last
    one left, and keeps it from writing. Without a `run` nobody is kept from anything.
    """

    service: str
    number: int
    library: str
    repository: str
    data: Sequence[str]
    parameters: Parameters = field(default_factory=Parameters)
    service_type: str = "supervised"
    weights: str = ""
    limits: Limits = field(default_factory=Limits)
    run: str = ""
    epoch: int = 0

    @property
    def connector(self) -> str:
        """Name of the input connector."""
        return str(self.parameters.input.get("connector", ""))

    def to_json(self) -> Json:
        """For the pipe."""
        return {
            "service": self.service,
            "number": self.number,
            "library": self.library,
            "repository": self.repository,
            "data": list(self.data),
            "parameters": self.parameters.model_dump(),
            "service_type": self.service_type,
            "weights": self.weights,
            "roots": [str(folder) for folder in self.limits.roots.folders],
            "max_pixels": self.limits.max_pixels,
            "run": self.run,
            "epoch": self.epoch,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> TrainingSpec:
        """The inverse of `to_json`."""
        members = dict(raw)
        roots = Roots(tuple(Path(folder) for folder in members.pop("roots")))
        members["limits"] = Limits(roots, members.pop("max_pixels"))
        members["parameters"] = Parameters.model_validate(members["parameters"])
        return cls(**members)


class Training:
    """A training that runs in a child process; made once, run once, from one event loop.

    Linux kills the child when the thread that started it ends: that thread is the loop's, which
    outlives its trainings.
    """

    def __init__(self, spec: TrainingSpec, record: JobRecord) -> None:
        self.spec = spec
        self.record = record
        self._log = service_log(spec.service)
        self._first_warnings = tuple(record.warnings)
        self._process: asyncio.subprocess.Process | None = None
        self._begun = False
        self._killed = False
        self.died = False
        """The child ended unasked and unfinished: killed, crashed, out of memory."""
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)

    @property
    def pid(self) -> int | None:
        """Process id of the child, once it was started."""
        return self._process.pid if self._process else None

    def stop(self) -> JobRecord:
        """Ask it to save a checkpoint and end; `run` returns when it has.

        One that has not told of an iteration has nothing to save and is killed.
        """
        if self.record.status is JobStatus.RUNNING:
            self.record = self.record.evolve(status=JobStatus.CANCELLING)
            self._pass_on()
        return self.record

    def kill(self) -> JobRecord:
        """End it at once; the last checkpoint that it wrote stays."""
        if not self.record.status.ended:
            self.record = self.record.evolve(status=JobStatus.TERMINATING)
            self._pass_on()
        return self.record

    async def run(self, on_change: OnChange) -> JobRecord:
        """Run it to its end and return the final record; `on_change` hears of what happens."""
        if self.record.status is not JobStatus.RUNNING:
            return self.ended(JobStatus.TERMINATED)
        process = self._process = await self._start()
        words = asyncio.create_task(self._listen(process))
        final = None
        try:
            self._say(dumps(self.spec.to_json()) + b"\n")
            self._pass_on()
            final = await self._follow(process, on_change)
            async with asyncio.timeout(LEAVE_WITHIN):
                await process.wait()
        except TimeoutError:
            self._log.warning("%s: the trainer did not exit and is killed", self._name)
        finally:
            await self._bury(process, words)
        self.record = final or self._died(process.returncode)
        return self.record

    def ended(self, status: JobStatus, **changes: Any) -> JobRecord:
        """The record with a last status, now."""
        self.record = self.record.evolve(status=status, ended=time.time(), **changes)
        return self.record

    @property
    def _name(self) -> str:
        return f"{self.spec.service}/{self.spec.number}"

    async def _start(self) -> asyncio.subprocess.Process:
        # -P keeps the working directory out of the child's path, which is ours otherwise.
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "ddstream.engine.trainer", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env=child_environment(PYTHONPATH=os.pathsep.join(sys.path)),
        )

    def _say(self, line: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line)

    def _pass_on(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        if self.record.status is JobStatus.CANCELLING and self._begun:
            self._say(STOP)
        elif self.record.status is not JobStatus.RUNNING:
            self._killed = True
            self._process.kill()

    async def _follow(
        self, process: asyncio.subprocess.Process, on_change: OnChange
    ) -> JobRecord | None:
        assert process.stdout is not None
        async for line in process.stdout:
            message = _message(line)
            if message is None:
                self._heard(line)
                continue
            if "error" in message:
                return self.record.evolve(
                    status=JobStatus.ERROR, error=message["error"], ended=time.time()
                )
            changes = self._changes(message)
            points = message.get("points", {})
            self._begun = self._begun or bool(points)
            if status := message.get("status"):
                on_change(JobChange(self.record, points))
                unasked = self.record.status is JobStatus.RUNNING
                if status == JobStatus.TERMINATED and unasked:
                    return self._broken_off("somebody else's SIGTERM")
                return self.ended(JobStatus(status), **changes)
            self.record = self.record.evolve(**changes)
            whole = "history" in message
            on_change(JobChange(self.record, message["history"] if whole else points, whole))
        return None

    def _changes(self, message: Mapping[str, Any]) -> dict[str, Any]:
        changes = {name: message[name] for name in ("measure", "report") if name in message}
        if more := message.get("warnings"):
            changes["warnings"] = tuple(dict.fromkeys([*self._first_warnings, *more]))
        return changes

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self._heard(line)

    def _heard(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self._last_words.append(text)
        self._log.info("%s: %s", self._name, text)

    async def _bury(self, process: asyncio.subprocess.Process, words: asyncio.Task[None]) -> None:
        if process.returncode is None:
            process.kill()
            await process.wait()
        # A process that the child left behind may hold stderr open: do not wait for that one.
        await asyncio.wait({words}, timeout=1.0)
        words.cancel()

    def _died(self, returncode: int | None) -> JobRecord:
        if self._killed or self.record.status is not JobStatus.RUNNING:
            # It was asked to end, and has; what it last saved is kept.
            return self.ended(JobStatus.TERMINATED)
        return self._broken_off(_exit(returncode))

    def _broken_off(self, how: str) -> JobRecord:
        self.died = True
        last = " | ".join(word for word in self._last_words if word)[-1000:]
        self._log.error("%s: the trainer ended unasked: %s", self._name, how)
        text = f"the training process died: {how}" + (f"; last output: {last}" if last else "")
        return failed(self.record, InternalError(text))


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def _exit(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"{name} (out of memory, or killed from outside)" if name == "SIGKILL" else name
