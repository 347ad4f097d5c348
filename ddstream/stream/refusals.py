"""What a cluster refuses, in words for its operator: who may not do what, which setting fails."""

from __future__ import annotations

import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from ddstream.errors import Unavailable
from ddstream.settings import Settings

_DENIED = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "group",
    TransactionalIdAuthorizationFailed: "transactional id",
    ClusterAuthorizationFailedError: "cluster",
}
_UNKNOWN_USER = (AuthenticationFailedError, SaslAuthenticationFailed)
_NO_MECHANISM = (
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
    AuthenticationMethodNotSupported,
)
_PROBE_MS = 5000


class Refused(Unavailable):
    """The cluster does not let us do something, and will not until an operator changes that."""


def denied(settings: Settings, doing: str, what: str) -> Refused:
    """That the cluster's access rules deny something, such as ("read", "topic dd.jobs")."""
    return Refused(f"user {_user(settings)} may not {doing} {what}: Kafka's ACLs deny it")


def refused(error: BaseException, settings: Settings, doing: str = "use") -> Refused | None:
    """What the cluster refused with this error of aiokafka; None if that was not its reason."""
    for kind, what in _DENIED.items():
        if isinstance(error, kind):
            return denied(settings, doing, f"{what} {_names(error)}".strip())
    if isinstance(error, _UNKNOWN_USER):
        return Refused(
            f"Kafka at {settings.bootstrap} refuses user {_user(settings)}: check "
            "DDSTREAM_SASL_USERNAME and DDSTREAM_SASL_PASSWORD"
        )
    if isinstance(error, _NO_MECHANISM):
        return Refused(
            f"Kafka at {settings.bootstrap} refuses {settings.sasl_mechanism}: check "
            f"DDSTREAM_SASL_MECHANISM ({error})"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(
            f"the certificate of Kafka at {settings.bootstrap} is not trusted "
            f"({error.verify_message}): check DDSTREAM_SSL_CAFILE"
        )
    if isinstance(error, ssl.SSLError):
        return Refused(
            f"no TLS with Kafka at {settings.bootstrap} ({error.reason or error}): check "
            "DDSTREAM_SECURITY_PROTOCOL and DDSTREAM_SSL_CERTFILE"
        )
    return None


async def diagnosed(settings: Settings, security: dict[str, Any]) -> Refused | None:
    """Why the cluster cannot be talked to; None if it is only away.

    aiokafka tries every address and keeps its reasons to itself, so one connection is made here.
    """
    for address in settings.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            connection = await create_conn(
                host, int(port), request_timeout_ms=_PROBE_MS, **security
            )
        except (TimeoutError, KafkaError, OSError, ValueError) as error:
            if (found := refused(error, settings)) is not None:
                return found
        else:
            connection.close()
            return None
    return None


def _user(settings: Settings) -> str:
    if settings.security_protocol.startswith("SASL"):
        return repr(settings.sasl_username or "")
    return "of our certificate" if settings.ssl_certfile else "ANONYMOUS"


def _names(error: BaseException) -> str:
    given = error.args[0] if error.args else ""
    names = sorted(map(str, given)) if isinstance(given, set | frozenset | list) else [str(given)]
    return ", ".join(names)
