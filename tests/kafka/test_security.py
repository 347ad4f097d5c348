"""A broker that asks who is there: SCRAM over TLS with access rules, for every client of ours."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ddstream.api.predict import PredictRequest
from ddstream.errors import ServiceExists, ServiceNotFound, Unavailable
from ddstream.rest.app import app
from ddstream.rest.client import HttpApi
from ddstream.rest.server import Server
from ddstream.settings import Settings, SettingsError
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaProgram
from ddstream.stream.local.properties import BrokerUser
from ddstream.stream.worker import Worker
from tests.certificates import Authority
from tests.kafka.echo import EchoHost
from tests.kafka.guarded import GROUP, READ, TOPIC, WRITE, Guarded, Rule, everything, guarded
from tests.kafka.plane import ECHO, Plane, eventually

pytestmark = pytest.mark.timeout(240)
ASK = PredictRequest(service="x", data=["a"])


@pytest.fixture(scope="module")
def broker(
    kafka_program: KafkaProgram, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """A broker that lets in by SCRAM over TLS."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        starting = guarded(kafka_program, tmp_path_factory.mktemp("guarded"))
        yield runner.run(starting.__aenter__())
        runner.run(starting.__aexit__(None, None, None))


@pytest.fixture
def prefix() -> str:
    """A prefix of this test's own."""
    return f"t{secrets.token_hex(4)}"


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Worker]:
    """A worker that runs, ready or not."""
    worker = Worker(EchoHost(), Connection(settings))
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(running, 60)


def says(health: Callable[[], Any], *words: str) -> Callable[[], Any]:
    """Whether a health tells all of these words in one of its reasons."""

    async def check() -> bool:
        reasons = await health()
        return any(all(word in reason for word in words) for reason in reasons)

    return check


async def test_worker_and_bridge_work_over_scram_and_tls(broker: Guarded, prefix: str) -> None:
    await broker.rule(*everything("worker", prefix), *everything("bridge", prefix))
    async with (
        working(broker.settings("worker", prefix)) as worker,
        KafkaApi(Connection(broker.settings("bridge", prefix))) as api,
        Server(app(api, broker.settings("bridge", prefix)), "127.0.0.1", 0) as server,
        HttpApi(server.url) as http,
    ):
        await http.create_service("x", ECHO)
        answer = await http.predict(ASK)
        assert answer.body["predictions"] == [{"uri": "a"}]
        await eventually(well(worker, api))
        assert await http.health() == []
        await http.delete_service("x")


async def test_exactly_once_works_over_scram_and_tls(broker: Guarded, prefix: str) -> None:
    settings = broker.settings("alice", prefix, delivery="exactly_once")
    await broker.rule(*everything("alice", prefix))
    async with working(settings), KafkaApi(Connection(settings)) as api:
        await api.create_service("x", ECHO)
        assert (await api.predict(ASK)).body["predictions"] == [{"uri": "a"}]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"sasl_password": "wrong"}, ("DDSTREAM_SASL_PASSWORD", "'worker'")),
        ({"sasl_username": "nobody"}, ("DDSTREAM_SASL_USERNAME", "'nobody'")),
        ({"sasl_mechanism": "PLAIN", "sasl_password": "wrong"}, ("DDSTREAM_SASL", "'worker'")),
        ({"ssl_cafile": None}, ("not trusted", "DDSTREAM_SSL_CAFILE")),
        ({"ssl_cafile": "other"}, ("not trusted", "DDSTREAM_SSL_CAFILE")),
        ({"security_protocol": "SASL_PLAINTEXT"}, ("waiting for the broker: ",)),
    ],
)
async def test_who_is_not_let_in_is_told_why_and_waits(
    broker: Guarded,
    prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    members: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    if members.get("ssl_cafile"):
        members = {**members, "ssl_cafile": Authority(tmp_path, "other").cafile}
    settings = broker.settings("worker", prefix, **members)
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(working(settings))
        api = await stack.enter_async_context(KafkaApi(Connection(settings)))
        await eventually(says(worker.health, *words))
        await eventually(says(api.health, *words))
        server = Server(app(api, settings), "127.0.0.1", 0)
        url = (await stack.enter_async_context(server)).url
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.get(f"{url}/readyz") as answer:
            assert answer.status == 503
            assert words[0] in await answer.text()
        if words[0].startswith(("DDSTREAM", "not")):
            async with session.get(f"{url}/info") as answer:
                assert answer.status == 503
                assert words[0] in await answer.text()
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert any(all(word in text for word in words[-1:]) for text in told if "Kafka" in text) or (
        "waiting" in words[0]
    )
    assert len([text for text in told if "does not answer" in text]) < 100
    assert "wrong" not in "\n".join(told)


async def test_who_may_not_create_topics_is_told_which(
    broker: Guarded, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("'alice'", "may not create", f"{prefix}.control", "ACLs")
    settings = broker.settings("alice", prefix)
    async with working(settings) as worker, KafkaApi(Connection(settings)) as api:
        await eventually(says(worker.health, *words))
        await eventually(says(api.health, *words))
        with pytest.raises(Unavailable, match=f"create topic {prefix}"):
            await api.predict(ASK)
        assert any(words[2] in record.getMessage() for record in caplog.records)
        # When the operator mends it, both go on by themselves.
        await broker.rule(*everything("alice", prefix))
        await eventually(well(worker, api))
        await api.create_service("x", ECHO)
        assert (await api.predict(ASK)).code == 200


def well(*who: Worker | KafkaApi) -> Callable[[], Any]:
    """Whether all of these are ready."""

    async def check() -> bool:
        return not [reason for each in who for reason in await each.health()]

    return check


async def test_a_group_that_may_not_be_joined_is_named(broker: Guarded, prefix: str) -> None:
    topics, _, transactions = everything("worker", prefix)
    await broker.rule(topics, transactions)
    async with working(broker.settings("worker", prefix)) as worker:
        await eventually(says(worker.health, "'worker'", f"may not join group {prefix}.control"))
        await broker.rule(Rule("worker", GROUP, f"{prefix}*"))
        await eventually(well(worker))


async def test_a_worker_that_may_not_create_a_services_topics_says_so_to_the_caller(
    broker: Guarded, prefix: str
) -> None:
    await broker.rule(*everything("worker", prefix), *everything("bridge", prefix))
    forbidden = Rule("worker", TOPIC, f"{prefix}.predict.*", allowed=False)
    async with (
        working(broker.settings("worker", prefix)) as worker,
        KafkaApi(Connection(broker.settings("bridge", prefix))) as api,
    ):
        await eventually(well(worker, api))
        await broker.rule(forbidden)
        for _ in range(2):
            with pytest.raises(Unavailable, match=rf"'worker' may not create topic {prefix}\.pre"):
                await api.create_service("x", ECHO)
        with pytest.raises(ServiceNotFound):
            await api.predict(ASK)
        await broker.unrule(forbidden)
        await api.create_service("x", ECHO)
        assert (await api.predict(ASK)).code == 200
        with pytest.raises(ServiceExists):
            await api.create_service("x", ECHO)


async def test_a_worker_that_may_not_read_a_predict_topic_says_so_to_the_caller(
    broker: Guarded, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.rule(*everything("worker", prefix), *everything("bridge", prefix))
    forbidden = Rule("worker", TOPIC, f"{prefix}.predict.x", READ, allowed=False)
    words = f"'worker' may not read topic {prefix}.predict.x"
    await broker.rule(forbidden)
    async with (
        working(broker.settings("worker", prefix)) as worker,
        KafkaApi(Connection(broker.settings("bridge", prefix))) as api,
    ):
        await api.create_service("x", ECHO)
        await api.create_service("y", ECHO)
        await eventually(says(worker.health, words))
        assert any(words in record.getMessage() for record in caplog.records)

        async def refused() -> bool:
            try:
                async with asyncio.timeout(1):
                    await api.predict(ASK)
            except Unavailable as error:
                return words in error.detail
            except TimeoutError:
                return False
            return False

        await eventually(refused)
        # The others are not disturbed.
        assert (await api.predict(PredictRequest(service="y", data=["a"]))).code == 200
        await broker.unrule(forbidden)
        await eventually(well(worker))

        async def answered() -> bool:
            try:
                return (await api.predict(ASK)).code == 200
            except Unavailable:
                return False

        await eventually(answered)


async def test_a_bridge_that_may_not_write_to_a_predict_topic_answers_503(
    broker: Guarded, prefix: str
) -> None:
    await broker.rule(*everything("worker", prefix), *everything("bridge", prefix))
    forbidden = Rule("bridge", TOPIC, f"{prefix}.predict.x", WRITE, allowed=False)
    async with (
        working(broker.settings("worker", prefix)),
        KafkaApi(Connection(broker.settings("bridge", prefix))) as api,
    ):
        await api.create_service("x", ECHO)
        await api.create_service("y", ECHO)
        await broker.rule(forbidden)
        words = rf"'bridge' may not write to topic {prefix}\.predict\.x"
        for _ in range(3):
            with pytest.raises(Unavailable, match=words):
                await api.predict(ASK)
            # The same producer goes on writing elsewhere.
            assert (await api.predict(PredictRequest(service="y", data=["a"]))).code == 200
        await broker.unrule(forbidden)
        assert (await api.predict(ASK)).code == 200


async def test_a_client_certificate_lets_in_where_the_broker_wants_one(
    kafka_program: KafkaProgram, tmp_path: Path, prefix: str
) -> None:
    listening = guarded(kafka_program, tmp_path, listener="SSL", client_auth="required")
    async with listening as broker:
        await broker.rule(*everything("alice", prefix))
        own = broker.authority.sign("alice")
        members: dict[str, Any] = {"security_protocol": "SSL"}
        shown = {**members, "ssl_certfile": own.certfile, "ssl_keyfile": own.keyfile}
        settings = broker.settings("", prefix, **shown)
        async with working(settings), KafkaApi(Connection(settings)) as api:
            await api.create_service("x", ECHO)
            assert (await api.predict(ASK)).body["predictions"] == [{"uri": "a"}]
        async with working(broker.settings("", prefix, **members)) as worker:
            await eventually(says(worker.health, "waiting for the broker: "))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_worker_and_bridge_work_over_sasl_without_tls(
    kafka_program: KafkaProgram, tmp_path: Path, mechanism: str
) -> None:
    options = BrokerOptions(heap="256m", users=(BrokerUser("alice", "secret"),))
    async with LocalBroker(kafka_program, tmp_path / "kafka", options=options) as broker:
        settings = Settings.model_validate(
            {
                "bootstrap": broker.sasl_bootstrap,
                "partitions": 2,
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": mechanism,
                "sasl_username": "alice",
                "sasl_password": "secret",
            }
        )
        async with Plane(settings) as plane:
            await plane.worker(EchoHost())
            api = await plane.bridge()
            await api.create_service("x", ECHO)
            answer = await api.predict(ASK)
            assert answer.body["predictions"] == [{"uri": "a"}]


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Settings(sasl_password="secret", api_key="secret"))


def test_files_that_are_no_certificates_are_told_by_their_setting(tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    with pytest.raises(SettingsError, match=r"ssl_cafile .*text\.pem"):
        Connection(Settings(security_protocol="SSL", ssl_cafile=text))
    with pytest.raises(SettingsError, match=r"ssl_certfile .*text\.pem"):
        Connection(Settings(security_protocol="SSL", ssl_certfile=text))
