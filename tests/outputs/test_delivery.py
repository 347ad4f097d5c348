"""Delivery: what a sink gets, what the caller gets, and where results may not be pushed to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ddstream.api.envelope import Answer, Relay
from ddstream.api.predict import OutputParameters
from ddstream.errors import BadRequest, ParameterError, SinkError
from ddstream.outputs.deliver import SinkDown, check_delivery, deliver, wants_delivery
from ddstream.outputs.sinks import ANY_HOST, LOOPBACK, HttpSink, Sinks
from tests.outputs.test_template import AMBULANCE, EXAMPLE

PREDICTION = Answer(200, AMBULANCE["head"], AMBULANCE["body"])


@dataclass
class Inbox:
    """A real HTTP server that keeps what is pushed to it."""

    url: str = ""
    code: int = 202
    answer: bytes = b'{"indexed":true}'
    got: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        self.got.append((request.method, request.headers["Content-Type"], content))
        if self.code == 302:
            return web.Response(status=302, headers={"Location": f"{self.url}/elsewhere"})
        headers = {"Content-Type": "application/x-mine"}
        return web.Response(status=self.code, body=self.answer, headers=headers)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    inbox = Inbox()
    application = web.Application(client_max_size=8 << 20)
    application.router.add_route("*", "/{tail:.*}", inbox.take)
    async with TestServer(application) as server:
        inbox.url = f"http://127.0.0.1:{server.port}/in"
        yield inbox


@pytest.fixture
async def sinks() -> AsyncIterator[Sinks]:
    async with Sinks.standard(LOOPBACK) as sinks:
        yield sinks


def options(**members: Any) -> OutputParameters:
    return OutputParameters.parse(members, "parameters.output", ParameterError)


@pytest.mark.promise("predict.output.template")
async def test_a_template_makes_the_answer_plain_text(sinks: Sinks) -> None:
    answer = await deliver(PREDICTION, options(template=EXAMPLE), sinks)
    code, content, kind = answer.for_caller()
    assert (code, kind) == (200, "text/plain; charset=utf-8")
    assert content.startswith(b"status=200\n*ambulance.jpg:\n")


async def test_without_template_and_sink_an_answer_is_left_alone(sinks: Sinks) -> None:
    assert not wants_delivery(options())
    assert await deliver(PREDICTION, options(), sinks) is PREDICTION


@pytest.mark.promise(
    "predict.output.network",
    "predict.output.network.url",
    "connectors.output.template.network",
)
async def test_the_caller_gets_what_the_sink_says(inbox: Inbox, sinks: Sinks) -> None:
    answer = await deliver(PREDICTION, options(network={"url": inbox.url}), sinks)
    assert answer.for_caller() == (202, b'{"indexed":true}', "application/x-mine")
    assert orjson.loads(answer.payload()[0]) == AMBULANCE
    ((method, kind, content),) = inbox.got
    assert (method, kind) == ("POST", "application/json")
    assert orjson.loads(content) == AMBULANCE | {"network": {"url": inbox.url}}


@pytest.mark.promise("predict.output.network.http_method")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_push_uses_the_method_asked_for(inbox: Inbox, sinks: Sinks, method: str) -> None:
    network = {"url": inbox.url, "http_method": method}
    await deliver(PREDICTION, options(network=network), sinks)
    assert [used for used, _, _ in inbox.got] == [method]


@pytest.mark.promise("predict.output.network.content_type")
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Content-Type: application/json", "application/json"),
        ("content-type:  application/x-ndjson ", "application/x-ndjson"),
        ("text/csv; header=present", "text/csv; header=present"),
        ("", "text/plain; charset=utf-8"),
    ],
)
async def test_a_push_has_the_content_type_asked_for(
    inbox: Inbox, sinks: Sinks, given: str, sent: str
) -> None:
    network = {"url": inbox.url, "content_type": given}
    asked = options(network=network, template="{{network.url}} {{{template}}} {{head.service}}")
    answer = await deliver(PREDICTION, asked, sinks)
    ((_, kind, content),) = inbox.got
    assert kind == sent
    assert content.decode() == f"{inbox.url} {asked.template} imageserv"
    assert answer.payload() == (content, sent)


@pytest.mark.parametrize("code", [400, 404, 409])
async def test_a_sink_that_refuses_is_handed_on(inbox: Inbox, sinks: Sinks, code: int) -> None:
    inbox.code, inbox.answer = code, b"no"
    answer = await deliver(PREDICTION, options(network={"url": inbox.url}), sinks)
    assert answer.for_caller()[:2] == (code, b"no")


@pytest.mark.parametrize("code", [408, 429, 500, 503])
async def test_a_sink_that_takes_nothing_now_fails_and_says_what_it_said(
    inbox: Inbox, sinks: Sinks, code: int
) -> None:
    inbox.code, inbox.answer = code, b"full"
    with pytest.raises(SinkDown, match=f"HTTP status {code}: full") as down:
        await deliver(PREDICTION, options(network={"url": inbox.url}), sinks)
    assert down.value.severity == "transient"
    assert down.value.answer.for_caller()[:2] == (code, b"full")
    assert orjson.loads(down.value.answer.payload()[0]) == AMBULANCE


async def test_a_redirect_is_handed_on_and_not_followed(inbox: Inbox, sinks: Sinks) -> None:
    inbox.code = 302
    answer = await deliver(PREDICTION, options(network={"url": inbox.url}), sinks)
    assert (answer.for_caller()[0], len(inbox.got)) == (302, 1)


async def test_an_answer_of_megabytes_is_pushed_whole(inbox: Inbox, sinks: Sinks) -> None:
    predictions = [{"uri": str(number), "vals": [0.5] * 100} for number in range(4000)]
    answer = Answer(200, {}, {"predictions": predictions})
    inbox.answer = b"x" * 3_000_000
    application = await deliver(answer, options(network={"url": inbox.url}), sinks)
    assert len(application.for_caller()[1]) == 3_000_000
    assert len(orjson.loads(inbox.got[0][2])["body"]["predictions"]) == 4000


@pytest.mark.promise("errors.code.1009")
async def test_a_push_that_fails_is_1009(sinks: Sinks) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(SinkError, match=r"127\.0\.0\.1") as failed:
            await deliver(PREDICTION, options(network={"url": url}), sinks)
    assert failed.value.severity == "transient"
    assert failed.value.status() | {"dd_msg": ""} == {
        "code": 404,
        "msg": "Not Found",
        "dd_code": 1009,
        "dd_msg": "",
    }


async def test_a_push_that_takes_too_long_is_1009() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = HttpSink(LOOPBACK, timeout=0.1)
        try:
            with pytest.raises(SinkError) as failed:
                await sink.push(f"http://127.0.0.1:{silent.getsockname()[1]}", "POST", b"", "a/b")
        finally:
            await sink.close()
        assert failed.value.severity == "transient"


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ((), "http://127.0.0.1:9/"),
        ((), "http://sink.example/"),
        (("10.0.0.0/8",), "http://127.0.0.1:9/"),
        (("10.0.0.0/8",), "http://localhost:9/"),
        (("sink.example",), "http://other.example/"),
        (LOOPBACK, "http://169.254.169.254/latest"),
        (LOOPBACK, "http://[::2]/"),
    ],
)
async def test_a_host_that_is_not_listed_is_refused(allow: tuple[str, ...], url: str) -> None:
    async with Sinks.standard(allow) as sinks:
        with pytest.raises(ParameterError, match="DDSTREAM_SINK_ALLOW"):
            await deliver(PREDICTION, options(network={"url": url}), sinks)


@pytest.mark.parametrize("allow", [("localhost",), ("127.0.0.0/8", "::1"), ANY_HOST])
async def test_a_host_is_allowed_by_name_by_network_or_all(
    inbox: Inbox, allow: tuple[str, ...]
) -> None:
    url = inbox.url.replace("127.0.0.1", "localhost")
    async with Sinks.standard(allow) as sinks:
        answer = await deliver(PREDICTION, options(network={"url": url}), sinks)
    assert answer.for_caller()[0] == 202


@pytest.mark.parametrize(
    "url", ["ftp://a/", "no url", "http://3232235777/", "http://", "http://[::1", "kafka://topic"]
)
async def test_a_url_that_no_sink_takes_is_refused(sinks: Sinks, url: str) -> None:
    with pytest.raises(ParameterError, match=r"output\.network"):
        await deliver(PREDICTION, options(network={"url": url}), sinks)


async def test_a_content_type_cannot_smuggle_headers(inbox: Inbox, sinks: Sinks) -> None:
    network = {"url": inbox.url, "content_type": "a/b\r\nX-Mine: 1"}
    with pytest.raises(ParameterError, match="network"):
        await deliver(PREDICTION, options(network=network), sinks)
    assert inbox.got == []


@pytest.mark.parametrize("network", [{}, {"http_method": "PUT"}, {"url": ""}])
def test_a_network_without_url_is_a_bad_request(network: dict[str, str]) -> None:
    with pytest.raises(BadRequest, match=r"network\.url"):
        options(network=network)


async def test_what_cannot_be_delivered_is_found_before_any_work(sinks: Sinks) -> None:
    check_delivery(options(template=EXAMPLE, network={"url": "http://127.0.0.1/"}), sinks)
    for output in (options(template="{{#a}}"), options(network={"url": "ftp://a/"})):
        with pytest.raises(ParameterError):
            check_delivery(output, sinks)


async def test_another_scheme_has_its_own_sink() -> None:
    class Memory:
        def __init__(self) -> None:
            self.got: list[tuple[str, bytes]] = []
            self.closed = False

        async def push(self, url: str, method: str, content: bytes, content_type: str) -> Relay:
            self.got.append((url, content))
            return Relay(200, b"{}")

        async def close(self) -> None:
            self.closed = True

    memory = Memory()
    async with Sinks.standard((), kafka=memory) as sinks:
        asked = options(network={"url": "kafka://topic"}, template="text")
        assert (await deliver(PREDICTION, asked, sinks)).for_caller()[1] == b"{}"
    assert memory.got == [("kafka://topic", b"text")]
    assert memory.closed
