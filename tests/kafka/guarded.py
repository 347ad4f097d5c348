"""A broker that asks who is there, over TLS, and has access rules; and who may do what on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from ddstream.settings import Settings
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaProgram
from ddstream.stream.local.properties import BrokerUser
from tests.certificates import Authority, Certificate

TOPIC, GROUP, CLUSTER, TRANSACTION = 2, 3, 4, 5
ALL, READ, WRITE, CREATE, DELETE, DESCRIBE = 2, 3, 4, 5, 6, 8
_DENY, _ALLOW = 2, 3
_LITERAL, _PREFIXED = 3, 4
USERS = ("alice", "bridge", "worker")
PASSWORD = "a long password"


@dataclass(frozen=True)
class Rule:
    """Who may do what with which resource; a name that ends in * is a prefix."""

    user: str
    kind: int
    name: str
    operation: int = ALL
    allowed: bool = True

    def request(self) -> Any:
        """As Kafka is asked to add it."""
        name = self.name.removesuffix("*") or "*"
        prefixed = self.name.endswith("*") and name != "*"
        return CreateAclsRequest(
            self.kind,
            name,
            _PREFIXED if prefixed else _LITERAL,
            f"User:{self.user}",
            "*",
            self.operation,
            _ALLOW if self.allowed else _DENY,
        )

    def removal(self) -> Any:
        """As Kafka is asked to take it away."""
        made = self.request()
        return DeleteAclsRequest(
            made._resource_type,
            made._resource_name,
            made._resource_pattern_type_filter,
            made._principal,
            made._host,
            made._operation,
            made._permission_type,
        )


def everything(user: str, prefix: str) -> list[Rule]:
    """What a worker or a bridge needs, on the topics of a prefix."""
    return [Rule(user, kind, f"{prefix}*") for kind in (TOPIC, GROUP, TRANSACTION)]


@dataclass(frozen=True)
class Guarded:
    """A running broker: what its clients need, and its administration."""

    broker: LocalBroker
    authority: Authority
    certificate: Certificate

    def settings(self, user: str, prefix: str, **members: Any) -> Settings:
        """The settings of one of its users."""
        return Settings.model_validate(
            {
                "bootstrap": self.broker.sasl_bootstrap,
                "prefix": prefix,
                "partitions": 2,
                "request_timeout": 60,
                "max_request_bytes": 1 << 20,
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_username": user,
                "sasl_password": PASSWORD,
                "ssl_cafile": self.authority.cafile,
                **members,
            }
        )

    async def rule(self, *rules: Rule) -> None:
        """Add access rules."""
        await self._administer([rule.request() for rule in rules])

    async def unrule(self, *rules: Rule) -> None:
        """Take access rules away."""
        await self._administer([rule.removal() for rule in rules])

    async def _administer(self, requests: list[Any]) -> None:
        # The plain listener is the administrator's.
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            await admin.start()
            for request in requests:
                answer = await admin._send_request(request)
                entries = next(v for k, v in answer.to_object().items() if k.endswith("responses"))
                assert not any(entry["error_code"] for entry in entries), answer
        finally:
            await admin.close()


@asynccontextmanager
async def guarded(
    program: KafkaProgram, folder: Path, *, listener: str = "SASL_SSL", client_auth: str = "none"
) -> AsyncIterator[Guarded]:
    """A broker whose second listener speaks TLS; without a rule nobody may do anything there."""
    authority = Authority(folder)
    certificate = authority.sign("broker")
    properties = {
        "listener.security.protocol.map": (
            f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:{listener}"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificate.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.cafile),
        "listener.name.sasl.ssl.client.auth": client_auth,
        "ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/,DEFAULT",
    }
    users = tuple(BrokerUser(name, PASSWORD) for name in USERS)
    options = BrokerOptions(heap="256m", users=users, properties=properties)
    async with LocalBroker(program, folder / "kafka", options=options) as broker:
        yield Guarded(broker, authority, certificate)
