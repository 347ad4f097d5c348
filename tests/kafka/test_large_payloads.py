"""Large payloads on a real broker: refused by name, kept compressed, or kept in a claim store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ddstream.api.envelope import Answer
from ddstream.api.predict import Call, PredictRequest
from ddstream.api.service import ServiceDefinition
from ddstream.connectors.remote.fetch import Fetcher
from ddstream.connectors.remote.objects import ObjectStores
from ddstream.engine.engine import Engine
from ddstream.errors import Unavailable
from ddstream.roots import Roots
from ddstream.settings import Settings
from ddstream.stream.admin import delete_group
from ddstream.stream.connection import started, stopped
from ddstream.stream.rejects.reject import Which
from ddstream.stream.rejects.rejects import Rejects
from tests.connectors.remote.s3 import BUCKET, s3_environment, s3_server
from tests.engine.probe import ProbeBackend
from tests.engine.test_predicting import definition, png
from tests.kafka.echo import EchoHost
from tests.kafka.plane import ECHO, Plane, body, headers
from tests.kafka.rejecting import RAW, done, until_rejected

LONG = "x" * (2 << 20)


def huge(call: Call) -> None:
    predictions = [{"uri": LONG, "classes": []}]
    call.done(Answer(200, {"method": "/predict", "service": "x"}, {"predictions": predictions}))


def rendered(call: Call) -> None:
    call.done(Answer(200, {"method": "/predict"}, {}, text=LONG))


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of a claim store of each kind."""
    if request.param == "folder":
        return f"file://{tmp_path}/claims"
    for name, value in s3_environment(request.getfixturevalue("s3_url")).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
async def claiming(settings: Settings, store: str, tmp_path: Path) -> AsyncIterator[Plane]:
    """A plane whose workers and bridges have a claim store."""
    changed = {"claim_store": store, "claim_secret": "s", "roots": (tmp_path,)}
    async with Plane(settings.model_copy(update=changed)) as plane:
        yield plane


async def kept(claim: dict[str, Any], plane: Plane) -> bytes:
    """What a consumer finds behind a claim."""
    roots = Roots(plane.settings.roots)
    async with Fetcher(roots, timeout=30, max_bytes=1 << 25, stores=("s3",)) as fetcher:
        content = (await fetcher.fetch(claim["url"], 0, timeout=-1)).content
    if isinstance(content, Path):
        content = content.read_bytes()
    assert isinstance(content, bytes)
    assert len(content) == claim["nbytes"]
    assert hashlib.sha256(content).hexdigest() == claim["sha256"]
    return content


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_a_record_over_the_limit_is_413_by_the_limits_name_and_kept_byte_for_byte(
    plane: Plane, compression: str | None
) -> None:
    await plane.worker(EchoHost())
    await (await plane.bridge()).create_service("x", ECHO)
    limit = plane.settings.max_request_bytes
    # Compressed it passes the broker at several times the limit.
    big = bytes(limit + 1000 if compression is None else 5 * limit)
    producer = plane.connection.producer(headroom=10 * limit, compression_type=compression)
    await started(producer)
    try:
        await producer.send_and_wait(
            plane.topics.predict("x"), big, b"k", 1, headers=[("content-type", b"image/jpeg")]
        )
    finally:
        await stopped(producer)
    (result,) = await plane.results("x", 1)
    status = body(result)["status"]
    assert status["code"] == 413
    assert f"{len(big)} bytes, DDSTREAM_MAX_REQUEST_BYTES is {limit}" in status["dd_msg"]
    await until_rejected(plane, 1)
    async with Rejects(plane.connection) as rejects:
        (reject,) = await rejects.list()
        assert (reject.code, reject.size, reject.key) == ("413", len(big), b"k")
        assert reject.headers == (("content-type", b"image/jpeg"),)
        assert (await rejects.show(reject.id))[1] == big
        (outcome,) = await done(rejects.replay(Which()))
        # A record a little over the limit has room in the topic, and is refused again.
        assert outcome.ok == (compression is None)
        assert outcome.ok or f"takes {limit + 4096}" in outcome.detail


async def test_a_reject_with_neither_key_nor_value_is_kept_and_stops_nobody(plane: Plane) -> None:
    await plane.worker(EchoHost())
    await (await plane.bridge()).create_service("x", ECHO)
    batch = plane.producer.create_batch()
    batch.append(key=None, value=None, timestamp=1, headers=[])
    await (await plane.producer.send_batch(batch, plane.topics.predict("x"), partition=0))
    await plane.send("x", b"good", RAW, partition=0)
    results = await plane.results("x", 2)
    assert [headers(r)["dd-status"] for r in results] == [b"400", b"200"]
    async with Rejects(plane.connection) as rejects:
        (reject,) = await rejects.list()
        assert (reject.key, await rejects.show(reject.id)) == (None, (reject, None))
        (outcome,) = await done(rejects.replay(Which()))
        assert outcome.ok


async def test_an_answer_over_the_limit_without_a_store_is_413_and_its_request_is_kept(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost(huge))
    await (await plane.bridge()).create_service("x", ECHO)
    await plane.send("x", b"1", RAW)
    (result,) = await plane.results("x", 1)
    assert body(result)["status"]["code"] == 413
    assert "no DDSTREAM_CLAIM_STORE is set" in body(result)["status"]["dd_msg"]
    (reject,) = await plane.read(plane.topics.rejects, 1)
    assert (reject.value, headers(reject)["dd-error-code"]) == (b"1", b"413")


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_an_answer_over_the_limit_is_kept_and_a_small_record_says_where(
    claiming: Plane, delivery: str
) -> None:
    await claiming.worker(EchoHost(huge))
    definition = ServiceDefinition.model_validate(
        {"mllib": "echo", "parameters": {"stream": {"delivery": delivery}}}
    )
    await (await claiming.bridge()).create_service("x", definition)
    await claiming.send("x", b"1", {**RAW, "dd-claim": b"a client's own"}, key=b"k", partition=1)
    (result,) = await claiming.results("x", 1)
    assert (result.key, result.partition) == (b"k", 1)
    assert len(result.value) < 1024
    told = body(result)
    assert told["status"]["code"] == 200
    assert told["head"]["service"] == "x"
    claim = told["head"]["claim"]
    assert [value for name, value in result.headers if name == "dd-claim"] == [
        claim["url"].encode()
    ]
    assert claim["content_type"] == "application/json"
    answer = orjson.loads(await kept(claim, claiming))
    assert answer["body"]["predictions"][0]["uri"] == LONG
    assert await claiming.ends(claiming.topics.rejects) == 0


async def test_who_asks_a_bridge_gets_the_whole_answer(claiming: Plane) -> None:
    await claiming.worker(EchoHost(huge))
    api = await claiming.bridge()
    await api.create_service("x", ECHO)
    answer = await api.predict(PredictRequest(service="x", data=["a"]))
    assert answer.body["predictions"][0]["uri"] == LONG
    assert "claim" not in answer.head
    code, content, kind = answer.for_caller()
    assert (code, kind) == (200, "application/json")
    assert orjson.loads(content)["body"]["predictions"][0]["uri"] == LONG


async def test_a_rendered_template_over_the_limit_comes_whole_too(claiming: Plane) -> None:
    await claiming.worker(EchoHost(rendered))
    api = await claiming.bridge()
    await api.create_service("x", ECHO)
    answer = await api.predict(PredictRequest(service="x", data=["a"]))
    assert answer.for_caller() == (200, LONG.encode(), "text/plain; charset=utf-8")


async def test_a_bridge_without_the_store_says_where_the_answer_is(
    settings: Settings, tmp_path: Path
) -> None:
    changed = {"claim_store": f"file://{tmp_path}", "roots": (tmp_path,)}
    async with Plane(settings.model_copy(update=changed)) as plane, Plane(settings) as bare:
        await plane.worker(EchoHost(huge))
        api = await bare.bridge()
        await api.create_service("x", ECHO)
        with pytest.raises(Unavailable, match=f"kept at file://{tmp_path}/x/"):
            await api.predict(PredictRequest(service="x", data=["a"]))


async def test_a_store_that_is_full_or_away_is_413_with_the_reason(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("a file where the service's folder should be")
    changed = {"claim_store": f"file://{tmp_path}", "roots": (tmp_path,)}
    async with Plane(settings.model_copy(update=changed)) as plane:
        await plane.worker(EchoHost(huge))
        await (await plane.bridge()).create_service("x", ECHO)
        await plane.send("x", b"1", RAW)
        (result,) = await plane.results("x", 1)
        assert body(result)["status"]["code"] == 413
        assert (
            f"the claim store file://{tmp_path} cannot be used" in body(result)["status"]["dd_msg"]
        )
        (reject,) = await plane.read(plane.topics.rejects, 1)
        assert reject.value == b"1"


async def test_a_repeated_request_replaces_its_kept_answer_and_another_has_its_own(
    settings: Settings, tmp_path: Path
) -> None:
    changed = {"claim_store": f"file://{tmp_path}", "roots": (tmp_path,)}
    async with Plane(settings.model_copy(update=changed)) as plane:
        worker = await plane.worker(EchoHost(huge))
        await (await plane.bridge()).create_service("x", ECHO)
        await plane.send("x", b"1", RAW, partition=0)
        await plane.send("x", b"1", RAW, partition=0)
        first = [body(r)["head"]["claim"]["url"] for r in await plane.results("x", 2)]
        assert len(set(first)) == 2
        await plane.drain(worker)
        # As if the worker had died before its commit.
        assert await delete_group(plane.connection, plane.topics.predict("x"))
        await plane.worker(EchoHost(huge))
        again = [body(r)["head"]["claim"]["url"] for r in (await plane.results("x", 4))[2:]]
        assert again == first
        assert len(os.listdir(tmp_path / "x")) == 2


async def test_a_worker_reads_data_from_s3_from_files_and_from_http(
    settings: Settings, tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def image(_: web.Request) -> web.Response:
        return web.Response(body=png(30))

    app = web.Application()
    app.router.add_get("/cat.png", image)
    for name, value in s3_environment(s3_url).items():
        monkeypatch.setenv(name, value)
    stores = ObjectStores(("s3",))
    await stores.write(f"s3://{BUCKET}/in/cat.png", png(10), seconds=30)
    await stores.close()
    (tmp_path / "cat.png").write_bytes(png(20))
    async with TestServer(app) as web_server:
        data = [
            f"s3://{BUCKET}/in/cat.png",
            f"file://{tmp_path}/cat.png",
            str(web_server.make_url("/cat.png")),
        ]
        changed = {"roots": (tmp_path,), "fetch_allow": ("127.0.0.1",)}
        own = settings.model_copy(update=changed)
        ProbeBackend.go.set()
        async with Engine(own) as engine, Plane(own) as plane:
            await plane.worker(engine)
            await (await plane.bridge()).create_service("p", definition(tmp_path))
            await plane.send("p", orjson.dumps({"data": data}))
            await plane.send("p", orjson.dumps({"data": ["file:///etc/hostname"]}))
            await plane.send("p", orjson.dumps({"data": [f"s3://{BUCKET}/none"]}))
            results = [body(r) for r in await plane.results("p", 3)]
    (good,) = [r for r in results if r["status"]["code"] == 200]
    assert [p["uri"] for p in good["body"]["predictions"]] == data
    texts = [r["status"].get("dd_msg", "") for r in results if r is not good]
    assert any("DDSTREAM_ROOTS" in text for text in texts)
    assert any("there is no such object" in text for text in texts)
    assert {r["status"].get("dd_code") for r in results if r is not good} == {1005}
