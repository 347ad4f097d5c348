"""The HTTP edge under bad and odd requests: every error is status JSON."""

from __future__ import annotations

import asyncio
import gzip
import logging
import zlib

import pytest

from ddstream.rest.server import Server
from ddstream.settings import Settings
from tests.rest.conftest import Http, Reply
from tests.rest.twin import TwinApi


def status(reply: Reply) -> tuple[int, int, object]:
    found = reply.json["status"]
    assert reply.headers["Content-Type"] == "application/json"
    return reply.status, found["code"], found.get("dd_code")


async def raw(server: Server, request: bytes) -> bytes:
    """Bytes as they are sent, and what comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.promise("errors.http.400")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'"text"',
        b'{"service": "letters", "data": ["\xff"]}',
        b'{"service": "letters", "data": [NaN]}',
        b'{"service": "letters", "data": "a"}',
        b'{"service": "letters", "data": [3]}',
        b'{"service": 3, "data": ["a"]}',
        b'{"data": ["a"]}',
        b'{"service": "letters", "parameters": [1]}',
        b'{"service": "letters", "parameters": {"output": 3}}',
        b'{"service": "letters", "parameters": {"output": ' + b'{"a":' * 90 + b"1" + b"}" * 92,
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_request_is_a_bad_request(
    http: Http, letters: str, body: bytes
) -> None:
    refused = await http("POST", "/predict", body)
    assert status(refused) == (400, 400, None)
    assert refused.json["status"]["msg"] == "BadRequest"


@pytest.mark.promise("errors.http.404")
async def test_unknown_paths_and_methods_have_status_json(http: Http) -> None:
    assert status(await http("GET", "/nowhere")) == (404, 404, None)
    assert status(await http("GET", "/services/")) == (404, 404, None)
    assert status(await http("PUT", "/services/", {})) == (404, 404, None)
    wrong = await http("DELETE", "/info")
    assert status(wrong) == (405, 405, None)
    assert set(wrong.headers["Allow"].split(",")) == {"GET", "HEAD"}
    assert status(await http("PATCH", "/predict")) == (405, 405, None)


@pytest.mark.parametrize("name", ["a%2Fb", "a%00b", "%2e%2e%2fetc", "a..b"])
async def test_names_that_look_like_paths_are_refused(server: Server, name: str) -> None:
    for method in ("GET", "DELETE"):
        request = f"{method} /services/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        head, _, content = (await raw(server, request.encode())).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert b'"code":400' in content


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NO HTTP AT ALL\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /info HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -3\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_gets_status_json_too(server: Server, request_bytes: bytes) -> None:
    head, _, content = (await raw(server, request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.")
    assert b" 400 " in head.split(b"\r\n")[0]
    assert b"application/json" in head
    assert content.startswith(b'{"status":{"code":400,"msg":"')


async def test_a_body_over_the_limit_is_too_large(
    http: Http, letters: str, settings: Settings
) -> None:
    limit = settings.max_request_bytes

    async def chunks() -> object:
        for _ in range(3):
            yield b" " * (limit // 2)

    declared = await http("POST", "/predict", b" " * (limit + 1))
    assert status(declared) == (413, 413, None)
    assert "DDSTREAM_MAX_REQUEST_BYTES" in declared.json["status"]["dd_msg"]
    async with http.session.post(f"{http.url}/predict", data=chunks()) as streamed:
        assert streamed.status == 413
        assert (await streamed.json())["status"]["code"] == 413
    assert (await http("GET", "/livez")).status == 200


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_packed_bodies_are_read_and_bounded_after_unpacking(
    http: Http, letters: str, coding: str, pack: object
) -> None:
    assert callable(pack)
    headers = {"Content-Encoding": coding}
    body = pack(b'{"service": "letters", "data": ["ab"]}')
    answer = await http("POST", "/predict", body, headers=headers)
    assert answer.json["body"]["predictions"][0]["uri"] == "ab"
    bomb = pack(b" " * (64 << 20))
    assert len(bomb) < 1 << 17
    assert status(await http("POST", "/predict", bomb, headers=headers)) == (413, 413, None)
    broken = await http("POST", "/predict", b"not packed at all", headers=headers)
    assert status(broken) == (400, 400, None)


async def test_long_answers_are_packed_when_asked(http: Http, letters: str) -> None:
    body = {"service": letters, "data": [str(number) for number in range(200)]}
    plain = await http("POST", "/predict", body, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    for coding, unpack in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        packed = await http("POST", "/predict", body, headers={"Accept-Encoding": coding})
        assert packed.headers["Content-Encoding"] == coding
        assert len(packed.content) < len(plain.content) / 4
        assert unpack(packed.content) == plain.content


async def test_a_long_body_is_read_like_a_short_one(
    http: Http, letters: str, twin: TwinApi
) -> None:
    datum = "ab" * 500_000
    body = {"service": letters, "data": [datum], "parameters": {"output": {"best": 1}}}
    assert len(datum) < 1 << 20
    answer = await http("POST", "/predict", body)
    assert answer.status == 200
    assert twin.seen[-1].data == [datum]


@pytest.mark.promise("errors.http.500", "errors.code.1007")
async def test_a_fault_of_our_own_has_an_id_that_the_log_has_too(
    http: Http, letters: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await http("POST", "/predict", {"service": letters, "data": ["crash"]})
    assert status(answer) == (500, 500, 1007)
    number = answer.json["status"]["dd_msg"].rpartition(" ")[2]
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert number in record.getMessage()
    assert record.exc_info is not None
    assert "ZeroDivisionError" not in answer.content.decode()


async def test_a_refusal_for_load_says_when_to_come_back(http: Http, letters: str) -> None:
    busy = await http("POST", "/predict", {"service": letters, "data": ["busy"]})
    assert status(busy) == (429, 429, None)
    assert int(busy.headers["Retry-After"]) >= 1


async def test_who_hangs_up_stops_his_call(http: Http, letters: str, twin: TwinApi) -> None:
    call = asyncio.ensure_future(http("POST", "/predict", {"service": letters, "data": ["wait"]}))
    await twin.waiting.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await twin.cancelled.wait()
    assert (await http("GET", "/livez")).status == 200


async def test_requests_are_logged_in_one_line(
    http: Http, letters: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="ddstream.access"):
        await http("POST", "/predict", {"service": letters, "data": ["a"]})
        await http("GET", "/services/no%0Asuch")
    lines = [each.getMessage() for each in caplog.records if each.name == "ddstream.access"]
    assert lines[0].startswith('HTTP/1.1 "POST /predict" letters 200 ')
    assert lines[0].endswith("ms")
    assert lines[1].startswith('HTTP/1.1 "GET /services/no%0Asuch" <n/a> 404 ')


async def test_without_an_origin_there_are_no_cors_headers(http: Http) -> None:
    answer = await http("GET", "/info", headers={"Origin": "http://a.example"})
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert status(await http("OPTIONS", "/info")) == (405, 405, None)


class TestWithAnOrigin:
    """The edge with `allow_origin` set."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(allow_origin="http://a.example")

    async def test_every_answer_allows_it(self, http: Http) -> None:
        for method, path in (("GET", "/info"), ("GET", "/nowhere"), ("POST", "/predict")):
            answer = await http(method, path)
            assert answer.headers["Access-Control-Allow-Origin"] == "http://a.example"
            assert answer.headers["Vary"] == "Origin"

    async def test_a_preflight_is_answered(self, http: Http) -> None:
        wanted = {"Access-Control-Request-Headers": "content-type, x-mine"}
        answer = await http("OPTIONS", "/predict", headers=wanted)
        assert answer.status == 200
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type, x-mine"
