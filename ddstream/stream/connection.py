"""Connections to Kafka: every client is made here, with the settings' security and sizes."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ddstream.errors import Unavailable
from ddstream.settings import Settings, SettingsError
from ddstream.stream.refusals import Refused, diagnosed, refused
from ddstream.stream.topics import RECORD_OVERHEAD

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 15_000
CANCEL_SECONDS = 5.0
"""How long a client that is being started is waited for when nobody wants it any more."""
Told = Callable[[Exception], None]
"""Hears why something is tried again."""
STOP_SECONDS = 5.0
"""How long a client may take to say goodbye to a broker that may be away."""
TRANSIENT = (KafkaError, OSError, asyncio.TimeoutError)
"""What a broker that is away makes its clients raise."""


class Connection:
    """Makes clients of one cluster; holds none itself."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._security = _security(settings)

    async def wait(self, told: Told = lambda error: None) -> None:
        """Return when the cluster answers; tries for ever, with back-off and a word in the log.

        `told` hears why it could not be talked to, each time.
        """
        delay = 0.1
        while True:
            try:
                async with self.admin() as admin:
                    await admin.describe_cluster()
                return
            except TRANSIENT as error:
                why = await diagnosed(self.settings, self._security) or error
                log.warning("Kafka at %s does not answer: %s", self.settings.bootstrap, why)
                told(why)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    def refused(self, error: BaseException, doing: str = "use") -> Refused | None:
        """What the cluster refused with an error of aiokafka; None if that was not its reason."""
        return refused(error, self.settings, doing)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An admin client for a few requests."""
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.settings.bootstrap,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **self._security,
        )
        try:
            await started(admin)
            yield admin
        finally:
            await stopped(admin)

    def producer(self, *, headroom: int = 0, **options: Any) -> AIOKafkaProducer:
        """An idempotent producer that waits for all replicas; not started."""
        limit = self.settings.max_request_bytes + RECORD_OVERHEAD + headroom
        return AIOKafkaProducer(
            bootstrap_servers=self.settings.bootstrap,
            acks="all",
            enable_idempotence=True,
            max_request_size=limit,
            max_batch_size=1 << 20,
            linger_ms=0,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **self._security,
            **options,
        )

    def consumer(self, topics: Sequence[str] = (), **options: Any) -> AIOKafkaConsumer:
        """A consumer from the earliest record on, which commits only when told; not started."""
        limit = self.settings.max_request_bytes + RECORD_OVERHEAD
        return AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.settings.bootstrap,
            **{**self.consumer_options(limit), **options},
            **self._security,
        )

    @staticmethod
    def consumer_options(limit: int) -> dict[str, Any]:
        """What every consumer of ours has in common."""
        return {
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "enable_auto_commit": False,
            "max_partition_fetch_bytes": limit,
            "fetch_max_bytes": max(limit, 50 << 20),
            # A fetch in flight leaves out partitions whose records are not taken yet; what comes
            # for them waits until it returns. At 500 ms a busy service lost half its throughput.
            "fetch_max_wait_ms": 50,
            "metadata_max_age_ms": 30_000,
        }

    def faststream_security(self) -> Any:
        """The same security in FastStream's words; None for plain text."""
        from faststream.security import (
            BaseSecurity,
            SASLPlaintext,
            SASLScram256,
            SASLScram512,
        )

        settings = self.settings
        context = self._security.get("ssl_context")
        if not settings.security_protocol.startswith("SASL"):
            return BaseSecurity(ssl_context=context, use_ssl=True) if context else None
        kinds = {
            "PLAIN": SASLPlaintext,
            "SCRAM-SHA-256": SASLScram256,
            "SCRAM-SHA-512": SASLScram512,
        }
        return kinds[settings.sasl_mechanism](
            username=settings.sasl_username or "",
            password=settings.sasl_password or "",
            ssl_context=context,
            use_ssl=context is not None,
        )


def _security(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if settings.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password,
        }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _tls(settings)
    return options


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"ssl_cafile {settings.ssl_cafile}: {error}") from error
    try:
        if settings.ssl_certfile:
            # Without a password for the key it must not be asked for at a terminal.
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"ssl_certfile {settings.ssl_certfile}: {error}") from error
    return context


async def started(client: Any) -> None:
    """Start a client of aiokafka. Raises what its start raises.

    If the caller is cancelled meanwhile, the start may end first: cut short, it can leave a
    connection that nobody knows and nobody closes.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting}, timeout=CANCEL_SECONDS)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def stopped(client: Any) -> None:
    """Stop a client of aiokafka, though the caller be cancelled meanwhile; never raises for what
    its `stop` meets, and never waits for a broker that is away.

    That `stop` gives up halfway when one of its tasks is cancelled before its first step, and
    leaves the connections open: they are closed here in any case.
    """
    stopping = asyncio.ensure_future(_stop(client))
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        await asyncio.wait({stopping})
        raise


async def _stop(client: Any) -> None:
    stop = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    network = client.client if isinstance(client, AIOKafkaProducer) else client._client
    for step in (stop, network.close):
        # A producer's stop flushes, and waits for the broker for as long as that is away.
        running = asyncio.ensure_future(step())
        _, late = await asyncio.wait({running}, timeout=STOP_SECONDS)
        running.cancel()
        outcome = await asyncio.gather(running, return_exceptions=True)
        if late:
            log.warning("a client of Kafka did not stop in %g s and is left", STOP_SECONDS)
        elif outcome[0] is not None:
            log.debug("stopping a client of Kafka: %r", outcome[0])


async def topic_exists(client: Any, topics: Iterable[str]) -> bool:
    """Whether all of `topics` are in the cluster's metadata now; never waits for them to appear."""
    metadata = await client.fetch_all_metadata()
    return set(topics) <= set(metadata.topics(exclude_internal_topics=False))


async def persist(step: Callable[[], Awaitable[Any]], told: Told = lambda error: None) -> None:
    """Do a step of starting; while the broker is away or refuses it, try again with back-off.

    `told` hears why it failed, each time.
    """
    delay = 0.2
    while True:
        try:
            await step()
            return
        except (*TRANSIENT, Unavailable) as error:
            log.warning("starting: %s; trying again", error)
            told(error)
        await asyncio.sleep(delay)
        delay = min(delay * 2, 5.0)
