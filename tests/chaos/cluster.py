"""The brokers of a chaos run: one node, or three that replicate; killed, stopped, frozen, back."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ddstream.settings import Settings
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaSources, find_kafka
from ddstream.stream.local.properties import new_cluster_id

# Below the range that the kernel gives to outgoing connections: a client that tries again and
# again would else, once in a while, take the port of the very broker that it waits for.
PORTS = range(15_000, 32_000)
PATIENCE = 90.0


class Cluster:
    """`async with Cluster(folder, nodes)`: its data goes at the end, its logs stay."""

    def __init__(self, folder: Path, nodes: int = 1) -> None:
        program = find_kafka(KafkaSources.of(Settings()))
        ports = free_ports(2 * nodes)
        self._ports = list(zip(ports[::2], ports[1::2], strict=True))
        identity = new_cluster_id()
        self.nodes = [
            LocalBroker(
                program,
                folder / f"kafka-{number}",
                self._ports[number][0],
                BrokerOptions(
                    heap="320m",
                    properties=self._properties(number),
                    cluster_id=identity,
                    start_limit=PATIENCE,
                ),
            )
            for number in range(nodes)
        ]

    async def __aenter__(self) -> Self:
        # Together: of three, one alone has no quorum and cannot answer.
        await asyncio.gather(*(node.start() for node in self.nodes))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(node.stop() for node in self.nodes), return_exceptions=True)
        for node in self.nodes:
            shutil.rmtree(node.directory / "data", ignore_errors=True)

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes."""
        return ",".join(f"127.0.0.1:{client}" for client, _ in self._ports)

    async def kill(self, number: int = 0) -> None:
        """Kill a node with -9, and return at its end."""
        node = self.nodes[number]
        os.kill(node.pid, signal.SIGKILL)
        await node.exited()

    async def stop(self, number: int = 0) -> None:
        """Stop a node as SIGTERM does."""
        await self.nodes[number].stop()

    async def start(self, number: int = 0) -> None:
        """Start a node that ended, and return when it answers."""
        await self.nodes[number].start()

    def freeze(self, number: int = 0) -> None:
        """Stop a node's process where it stands: its port stays open and nothing answers."""
        os.kill(self.nodes[number].pid, signal.SIGSTOP)

    def thaw(self, number: int = 0) -> None:
        """Let a frozen node go on."""
        os.kill(self.nodes[number].pid, signal.SIGCONT)

    def _properties(self, number: int) -> dict[str, str]:
        client, controller = self._ports[number]
        voters = (f"{n + 1}@127.0.0.1:{port}" for n, (_, port) in enumerate(self._ports))
        own = {
            "node.id": str(number + 1),
            "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.voters": ",".join(voters),
        }
        return own | QUICK | (REPLICATED if len(self._ports) > 1 else {})


# A killed node may come back, or is missed, after 2 s and not after 9: a run has many.
QUICK = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
REPLICATED = {
    "min.insync.replicas": "2",
    "default.replication.factor": "3",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


def free_ports(count: int) -> Sequence[int]:
    """Ports of the loopback interface that nobody listens on."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports")
