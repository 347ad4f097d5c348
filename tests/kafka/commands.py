"""The commands of `ddstream` as child processes, started and ended from a test's event loop."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ddstream.settings import Settings, child_environment

DDSTREAM = Path(sys.executable).with_name("ddstream")
PATIENCE = 90.0


class Command:
    """One running command; what it prints is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())
        self._news = asyncio.Condition()

    async def says(self, pattern: str) -> str:
        """The first group of the first line that matches; fails if it ends without one."""
        compiled = re.compile(pattern)
        seen = 0
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if match := compiled.search(line):
                        return match[1] if match.groups() else line
                if self._reading.done() and seen == len(self.lines):
                    raise AssertionError("\n".join(self.lines[-30:]))
                async with self._news:
                    if seen == len(self.lines) and not self._reading.done():
                        await self._news.wait()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end, by itself or by a signal; the exit code."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self._reading
        return code

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())
            async with self._news:
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def command(settings: Settings, *arguments: str) -> AsyncIterator[Command]:
    """Run `ddstream ...` with the settings of a test; it is killed at the end if it still runs."""
    environment = child_environment(
        DDSTREAM_BOOTSTRAP=settings.bootstrap,
        DDSTREAM_PREFIX=settings.prefix,
        DDSTREAM_PARTITIONS=str(settings.partitions),
        DDSTREAM_ROOTS=":".join(map(str, settings.roots)),
        PYTHONUNBUFFERED="1",
    )
    process = await asyncio.create_subprocess_exec(
        str(DDSTREAM),
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 24,
    )
    running = Command(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await running.end(signal.SIGKILL)
