"""The workers of a chaos run: processes that are killed, stopped, and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from ddstream.background import Background
from ddstream.settings import Settings, child_environment
from ddstream.stream.local.broker import TETHER
from tests.chaos.cluster import free_ports

STOP_SECONDS = 90.0
ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Member:
    """One worker's place in the fleet: its port and its log stay when its process is replaced."""

    number: int
    port: int
    log: Path
    process: asyncio.subprocess.Process | None = None
    wanted: bool = False
    """It should run: an end that nobody asked for is a death."""

    @property
    def probes(self) -> str:
        """Where its probes are."""
        return f"http://127.0.0.1:{self.port}"

    def resident(self) -> int:
        """Bytes of memory that its process holds now; 0 if it does not run."""
        if self.process is None:
            return 0
        try:
            text = Path(f"/proc/{self.process.pid}/statm").read_text()
        except OSError:
            return 0
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Fleet:
    """`async with Fleet(settings, folder, size)` runs workers; `supervised` ones come back."""

    def __init__(
        self, settings: Settings, folder: Path, size: int, *, supervised: bool = False
    ) -> None:
        ports = free_ports(size)
        self.members = [Member(n, ports[n], folder / f"worker-{n}.log") for n in range(size)]
        self.deaths: list[str] = []
        """Ends that nobody asked for."""
        self._environment = child_environment(
            DDSTREAM_BOOTSTRAP=settings.bootstrap,
            DDSTREAM_PREFIX=settings.prefix,
            DDSTREAM_PARTITIONS=str(settings.partitions),
            DDSTREAM_REPLICATION=str(settings.replication),
            DDSTREAM_ROOTS=":".join(map(str, settings.roots)),
            DDSTREAM_MAX_REQUEST_BYTES=str(settings.max_request_bytes),
            PYTHONPATH=str(ROOT),
            PYTHONUNBUFFERED="1",
        )
        self._supervised = supervised
        self._background = Background()

    async def __aenter__(self) -> Self:
        for member in self.members:
            await self.start(member)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self.members:
            await self.kill(member)
        await self._background.cancel()

    async def start(self, member: Member) -> None:
        """Start a member's process; it serves some seconds later."""
        arguments = ("tests.chaos.worker", "worker", "--http-port", str(member.port))
        # Whatever becomes of the run, no worker outlives it.
        tether = (sys.executable, "-I", "-S", "-c", TETHER, str(os.getpid()))
        with member.log.open("ab") as log:
            member.process = await asyncio.create_subprocess_exec(
                *tether,
                *(sys.executable, "-m", *arguments),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        member.wanted = True
        self._background.spawn(self._watch(member, member.process))

    async def kill(self, member: Member) -> None:
        """Kill a member with -9 and return at its end."""
        await self._end(member, signal.SIGKILL)

    async def stop(self, member: Member) -> int:
        """End a member as an operator does, with SIGTERM; its exit code, -9 if it had to be
        killed."""
        return await self._end(member, signal.SIGTERM)

    async def freeze(self, member: Member, seconds: float) -> None:
        """Let a member's process stand still for so long."""
        process = member.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    async def reasons(self, member: Member) -> list[str]:
        """Why a member is not ready, by its `/readyz`; empty when it is."""
        limit = aiohttp.ClientTimeout(total=10)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.get(f"{member.probes}/readyz") as answer,
            ):
                body = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            return [f"no answer: {error!r}"]
        return [] if answer.status == 200 else list(body["reasons"])

    async def ready(self, members: Sequence[Member] = ()) -> None:
        """Return when members (all, unless told) are ready. Raises TimeoutError after 90 s."""
        end = time.monotonic() + STOP_SECONDS
        for member in members or self.members:
            while reasons := await self.reasons(member):
                if time.monotonic() > end:
                    raise TimeoutError(f"worker {member.number}: {reasons}; see {member.log}")
                await asyncio.sleep(0.2)

    async def _end(self, member: Member, number: signal.Signals) -> int:
        member.wanted = False
        process = member.process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            code = await process.wait()
        member.process = None
        return code

    async def _watch(self, member: Member, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not member.wanted or member.process is not process:
            return
        self.deaths.append(f"worker {member.number} ended with {code} by itself")
        if self._supervised:
            await self.start(member)
