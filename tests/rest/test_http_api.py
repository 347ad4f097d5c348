"""HttpApi: the same answers and errors as the Api behind the server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp import web

from ddstream.api.parameters import envelope
from ddstream.api.predict import PredictRequest
from ddstream.api.service import Parameters, ServiceDefinition
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.errors import (
    BadRequest,
    InternalError,
    JobNotFound,
    NotFound,
    ServiceExists,
    TimedOut,
    TooManyRequests,
    Unavailable,
    UnknownLibrary,
)
from ddstream.rest.client import HttpApi
from ddstream.rest.server import Server
from tests.rest.conftest import SERVICE, Remote
from tests.rest.twin import TwinApi


@pytest.fixture
async def api(server: Server) -> AsyncIterator[HttpApi]:
    async with HttpApi(server.url) as api:
        yield api


@pytest.fixture
async def letters(api: HttpApi) -> HttpApi:
    await api.create_service("Letters", envelope(ServiceDefinition, SERVICE))
    return api


def asking(data: list[object], **output: object) -> PredictRequest:
    parameters = Parameters(output=dict(output))
    return PredictRequest(service="letters", data=data, parameters=parameters)


async def test_answers_come_through_whole(letters: HttpApi, twin: TwinApi) -> None:
    assert (await letters.info(status=True)).json() == (await twin.info(status=True)).json()
    far = await letters.get_service("LETTERS", labels=True)
    assert far.json() == (await twin.get_service("letters", labels=True)).json()
    far = await letters.predict(asking(["ab", "c"], best=2))
    assert far.json() == (await twin.predict(asking(["ab", "c"], best=2))).json()
    assert (await letters.delete_service("letters", "full")).json() == {
        "status": {"code": 200, "msg": "OK"}
    }


async def test_jobs_come_through_with_their_queries(letters: HttpApi) -> None:
    started = await letters.train(TrainRequest(service="letters", data=("x",)))
    assert (started.code, started.head["job"]) == (201, 1)
    output = {"measure_hist": True, "max_hist_points": 2}
    query = JobQuery(service="letters", job=1, parameters=Parameters(output=output))
    live = await letters.get_job(query)
    assert live.body["measure_hist"] == {"train_loss_hist": [3.0, 1.0]}
    soon = await letters.delete_job(JobStop(service="letters", job=1, wait=False))
    assert soon.head["status"] == "cancelling"
    blocking = envelope(TrainRequest, {"service": "letters", "data": ["x"], "async": False})
    assert "measure" in (await letters.train(blocking)).body


async def test_errors_come_through_as_what_they_are(letters: HttpApi) -> None:
    with pytest.raises(ServiceExists):
        await letters.create_service("letters", envelope(ServiceDefinition, SERVICE))
    with pytest.raises(UnknownLibrary):
        await letters.create_service("x", envelope(ServiceDefinition, SERVICE | {"mllib": "b"}))
    with pytest.raises(JobNotFound) as missing:
        await letters.get_job(JobQuery(service="letters", job=7))
    assert missing.value.head == {"method": "/train", "job": 7}
    with pytest.raises(TooManyRequests):
        await letters.predict(asking(["busy"]))
    with pytest.raises(InternalError, match="internal error"):
        await letters.predict(asking(["crash"]))
    with pytest.raises(BadRequest):
        await letters.get_service("a/b")
    with pytest.raises(NotFound):
        await letters.get_service("")


async def test_bytes_arrays_and_paths_travel(letters: HttpApi, twin: TwinApi) -> None:
    red = np.zeros((2, 3, 3), np.uint8)
    red[..., 0] = 255
    await letters.predict(asking([b"\xff\xd8bytes", b"a text", red, Path("/a/path")]))
    bytes_sent, text_sent, array_sent, path_sent = twin.seen[-1].data
    assert base64.b64decode(bytes_sent) == b"\xff\xd8bytes"
    # A text says that it is one: it might be taken for a path.
    kind, packed = text_sent.split(",")
    assert (kind, base64.b64decode(packed)) == ("data:text/plain;base64", b"a text")
    png = np.frombuffer(base64.b64decode(array_sent), np.uint8)
    pixels = cv2.imdecode(png, cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (2, 3, 3)
    assert pixels[0, 0].tolist() == [0, 0, 255]
    assert path_sent == "/a/path"


async def test_rendered_and_relayed_answers_come_through(letters: HttpApi, remote: Remote) -> None:
    rendered = await letters.predict(asking(["a"], template="{{head.service}}!"))
    assert rendered.for_caller() == (200, b"letters!", "text/plain; charset=utf-8")
    relayed = await letters.predict(asking(["a"], network={"url": remote.url}))
    assert relayed.for_caller() == (202, b'{"indexed":true}', "application/json")


async def test_a_body_of_megabytes_travels(letters: HttpApi, twin: TwinApi) -> None:
    await letters.predict(asking([b"x" * 700_000]))
    assert len(twin.seen[-1].data[0]) > 900_000


async def test_readiness_is_told_with_its_reasons(api: HttpApi, twin: TwinApi) -> None:
    assert await api.health() == []
    twin.reasons.append("no worker")
    assert await api.health() == ["no worker"]


async def test_a_server_that_is_away_is_unavailable(server: Server) -> None:
    async with Server(web.Application(), "127.0.0.1", 0) as gone:
        url = gone.url
    async with HttpApi(url) as api:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
            await api.info()
        (reason,) = await api.health()
        assert url in reason


async def test_a_server_that_never_answers_times_out(server: Server, twin: TwinApi) -> None:
    await twin.create_service("letters", envelope(ServiceDefinition, SERVICE))
    async with HttpApi(server.url, timeout=0.2) as api:
        with pytest.raises(TimedOut):
            await api.predict(asking(["wait"]))
    async with asyncio.timeout(5):
        await twin.cancelled.wait()


async def test_a_server_that_is_something_else_is_an_error() -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.json_response({"hello": "world"})

    application = web.Application()
    application.router.add_get("/info", hello)
    async with Server(application, "127.0.0.1", 0) as server, HttpApi(server.url) as api:
        with pytest.raises(InternalError):
            await api.info()
        with pytest.raises(NotFound):
            await api.get_service("x")
        assert "readiness" in (await api.health())[0]
