"""The words of a local broker's configuration: ports, users, server.properties; starts nothing."""

from __future__ import annotations

import base64
import socket
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20

# One node, small memory, and no waiting that only a real cluster needs.
SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": (
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT"
    ),
    "auto.create.topics.enable": "false",
    "delete.topic.enable": "true",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(16 * MIB),
    "message.max.bytes": str(64 * MIB),
    "replica.fetch.max.bytes": str(64 * MIB),
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """A user whom the broker knows by PLAIN and by SCRAM-SHA-256 and -512."""

    name: str
    password: str


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one node: for clients, for its controller, for clients that authenticate."""

    client: int
    controller: int
    sasl: int


def pick_ports(client: int) -> Ports:
    """Free ports of the loopback interface; `client` stays as it is unless it is 0."""
    with ExitStack() as open_sockets:
        # All are held at once, so that no two are the same.
        held = [open_sockets.enter_context(socket.socket()) for _ in range(3)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        free = [int(each.getsockname()[1]) for each in held]
    return Ports(client or free[0], free[1], free[2])


def server_properties(data: Path, ports: Ports, users: Sequence[BrokerUser]) -> dict[str, str]:
    """The configuration of the single node that keeps its data in `data`."""
    clients = [f"PLAINTEXT://127.0.0.1:{ports.client}"]
    if users:
        clients.append(f"SASL://127.0.0.1:{ports.sasl}")
    own = {
        "log.dirs": str(data),
        "listeners": ",".join([*clients, f"CONTROLLER://127.0.0.1:{ports.controller}"]),
        "advertised.listeners": ",".join(clients),
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
    }
    return SINGLE_NODE | own | (_sasl(users) if users else {})


def _sasl(users: Sequence[BrokerUser]) -> dict[str, str]:
    package = "org.apache.kafka.common.security"
    known = " ".join(f'user_{user.name}="{user.password}"' for user in users)
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.sasl.plain.sasl.jaas.config": (
            f"{package}.plain.PlainLoginModule required {known};"
        ),
        "listener.name.sasl.scram-sha-256.sasl.jaas.config": (
            f"{package}.scram.ScramLoginModule required;"
        ),
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
            f"{package}.scram.ScramLoginModule required;"
        ),
    }


def format_arguments(cluster_id: str, users: Sequence[BrokerUser]) -> list[str]:
    """Arguments of Kafka's StorageTool up to the name of the configuration, which comes last."""
    scram = [
        f"--add-scram={mechanism}=[name={user.name},password={user.password}]"
        for user in users
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
    ]
    return ["format", "--cluster-id", cluster_id, *scram, "--config"]


def new_cluster_id() -> str:
    """A random id as Kafka writes them: 16 bytes in 22 characters, not beginning with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def read_properties(path: Path) -> dict[str, str]:
    """The pairs of a Java properties file that has neither escapes nor continued lines."""
    lines = path.read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file; a backslash is the one character that it must escape."""
    lines = (f"{key}={value}".replace("\\", "\\\\") for key, value in sorted(properties.items()))
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
