"""A single-node Apache Kafka as a managed child: ready or failed in time, stopped cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ddstream.stream.local.home import KafkaProgram, KafkaSources, find_kafka
from ddstream.stream.local.process import (
    STOPPED_BY_SIGNAL,
    end_process,
    pid_path,
    properties_path,
    running_pid,
)
from ddstream.stream.local.properties import (
    BrokerUser,
    Ports,
    format_arguments,
    new_cluster_id,
    pick_ports,
    read_properties,
    server_properties,
    write_properties,
)

START_LIMIT = 30.0
SMALL_JVM = ("-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
LOG_FLAGS = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "-Dorg.apache.logging.log4j.level=INFO",
)

# Runs in a Python of its own, since code between fork and exec is unsafe beside threads: asks the
# kernel for SIGTERM at the parent's death (prctl 1, PR_SET_PDEATHSIG), then becomes the broker.
TETHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class BrokerFailedError(RuntimeError):
    """The local Kafka did not start, or ended by itself."""


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """How a local broker runs, beyond its folder and port."""

    heap: str = "384m"
    """Largest heap of its JVM."""
    users: tuple[BrokerUser, ...] = ()
    """With users there is a SASL_PLAINTEXT listener too (PLAIN and SCRAM), at `sasl_bootstrap`."""
    properties: dict[str, str] = field(default_factory=dict)
    """Lines of server.properties that replace ours."""
    tethered: bool = True
    """Whether the kernel ends the broker when the thread that started it ends, however it ends."""
    start_limit: float = START_LIMIT
    """Seconds until it must answer."""
    cluster_id: str = ""
    """The cluster that it belongs to, which all nodes of it must name; empty: one of its own."""


class LocalBroker:
    """One Kafka node in one folder: server.properties, data, kafka.log and kafka.pid lie there."""

    def __init__(
        self,
        program: KafkaProgram,
        directory: Path,
        port: int = 0,
        options: BrokerOptions = BrokerOptions(),
    ) -> None:
        self.program = program
        self.directory = directory.expanduser().resolve()
        self.options = options
        self.ports = Ports(port, 0, 0)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def bootstrap(self) -> str:
        """Address for clients, without authentication; known once started."""
        return f"127.0.0.1:{self.ports.client}"

    @property
    def sasl_bootstrap(self) -> str:
        """Address of the listener that asks for one of `options.users`."""
        return f"127.0.0.1:{self.ports.sasl}"

    @property
    def pid(self) -> int:
        """Process id of the broker."""
        assert self._process is not None, "the broker is not started"
        return self._process.pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return when the broker answers. Raises BrokerFailedError with the end of its log."""
        if pid := running_pid(self.directory):
            raise BrokerFailedError(f"a Kafka already runs in {self.directory} (pid {pid})")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log_start = _size(self.log_path)
        self.ports = pick_ports(self.ports.client)
        write_properties(properties_path(self.directory), self._properties())
        try:
            async with asyncio.timeout(self.options.start_limit):
                cluster_id = await self._format()
                self._launch()
                await self._wait_until_ready(cluster_id)
        except TimeoutError as error:
            await self.stop()
            raise self._failure(f"is not ready in {self.options.start_limit:g} s") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after 15 s; no harm if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(end_process, self.directory)
            process.wait()

    async def exited(self) -> int:
        """Wait for the broker's end, whoever causes it; its exit code."""
        assert self._process is not None, "the broker is not started"
        ended = asyncio.Event()
        handle = os.pidfd_open(self._process.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
        return self._process.wait()

    def release(self) -> None:
        """Leave an untethered broker running when this process ends; `kafka_down` stops it."""
        assert self._process is not None, "the broker is not started"
        # Popen warns at the end of an object whose child runs on; here that is the purpose.
        self._process.returncode = 0
        self._process = None

    @property
    def log_path(self) -> Path:
        """Where the broker writes what it does."""
        return self.directory / "kafka.log"

    def log_tail(self) -> str:
        """What this run's log gives as causes, and its last lines."""
        with self.log_path.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()
        causes = [line for line in lines if line.startswith("Caused by") or " ERROR " in line]
        kept = list(dict.fromkeys([*causes[-4:], *lines[-6:]]))
        return "\n".join(line[:300] for line in kept)

    def _properties(self) -> dict[str, str]:
        ours = server_properties(self.directory / "data", self.ports, self.options.users)
        return ours | self.options.properties

    async def _format(self) -> str:
        meta = self.directory / "data" / "meta.properties"
        if not meta.exists():
            cluster_id = self.options.cluster_id or new_cluster_id()
            arguments = format_arguments(cluster_id, self.options.users)
            main = ("kafka.tools.StorageTool", *arguments, str(properties_path(self.directory)))
            with self.log_path.open("ab") as output:
                await _run(self.program.command(self.directory, SMALL_JVM, main), output.fileno())
        if not meta.exists():
            raise self._failure("could not format its data")
        return read_properties(meta)["cluster.id"]

    def _launch(self) -> None:
        jvm = (*SMALL_JVM, f"-Xmx{self.options.heap}", *LOG_FLAGS)
        main = ("kafka.Kafka", str(properties_path(self.directory)))
        command = self.program.command(self.directory, jvm, main)
        if self.options.tethered and sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", TETHER, str(os.getpid()), *command]
        with self.log_path.open("ab") as output:
            # A session of its own: Ctrl-C must not end it before the worker has drained.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        pid_path(self.directory).write_text(f"{self._process.pid}\n")

    async def _wait_until_ready(self, cluster_id: str) -> None:
        assert self._process is not None
        while not await answers(self.bootstrap, cluster_id):
            if self._process.poll() is not None:
                raise self._failure(f"ended with {self._process.returncode}")
            await asyncio.sleep(0.05)

    def _failure(self, what: str) -> BrokerFailedError:
        tail = self.log_tail()
        return BrokerFailedError(f"Kafka {what}; the end of {self.log_path}:\n{tail}")


async def answers(bootstrap: str, cluster_id: str) -> bool:
    """Whether that very cluster answers there; an open port is not a ready broker."""
    host, _, port = bootstrap.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return bool(cluster["brokers"]) and cluster["cluster_id"] == cluster_id


def kafka_up(
    sources: KafkaSources,
    directory: Path,
    port: int,
    *,
    foreground: bool = False,
    announce: Callable[[str], None] = print,
) -> str:
    """Start a broker, or find the one that runs in `directory`, and announce its bootstrap address.

    Returns that address: at once in the background, where the broker runs on, or, in the
    foreground, after SIGTERM or SIGINT and the broker's stop. If the sources name a cluster, that
    one is announced and nothing starts. Raises KafkaMissingError or BrokerFailedError.
    """
    directory = directory.expanduser().resolve()
    known = sources.bootstrap or (None if foreground else _running_bootstrap(directory, port))
    if known:
        announce(known)
        if foreground:
            asyncio.run(_unless_signalled(asyncio.Event().wait()))
        return known
    options = BrokerOptions(tethered=foreground)
    broker = LocalBroker(find_kafka(sources), directory, port, options)
    asyncio.run(_unless_signalled(_live(broker, foreground, announce)))
    return broker.bootstrap


def kafka_down(directory: Path) -> bool:
    """Stop the broker that runs in `directory` and wait for its end; False if none runs there."""
    return end_process(directory.expanduser().resolve())


def _running_bootstrap(directory: Path, port: int) -> str | None:
    pid = running_pid(directory)
    if pid is None:
        return None
    listeners = read_properties(properties_path(directory))["advertised.listeners"]
    bootstrap = listeners.split(",")[0].removeprefix("PLAINTEXT://")
    if port and not bootstrap.endswith(f":{port}"):
        raise BrokerFailedError(f"the Kafka in {directory} (pid {pid}) is at {bootstrap} already")
    return bootstrap


async def _live(broker: LocalBroker, foreground: bool, announce: Callable[[str], None]) -> None:
    if not foreground:
        await broker.start()
        announce(broker.bootstrap)
        broker.release()
        return
    async with broker:
        announce(broker.bootstrap)
        code = await broker.exited()
        if code not in STOPPED_BY_SIGNAL:
            raise BrokerFailedError(f"Kafka ended with {code}:\n{broker.log_tail()}")


async def _unless_signalled(work: Coroutine[Any, Any, Any]) -> None:
    """Run `work` to its end, or cancel it at SIGTERM or SIGINT and wait until it has cleaned up."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def _run(command: list[str], output: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
