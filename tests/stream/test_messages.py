"""Records become calls, answers become records."""

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from ddstream.api.envelope import Answer, Relay
from ddstream.errors import BadRequest, DDError, InputError, TooLarge
from ddstream.stream import messages


def record(value: bytes | None, **headers: bytes) -> Any:
    pairs = tuple((name.replace("_", "-"), content) for name, content in headers.items())
    return SimpleNamespace(
        topic="dd.predict.x", partition=3, offset=7, key=b"k", value=value, headers=pairs
    )


def ignore(result: Answer | DDError) -> None:
    """Nobody waits."""


def test_documented_json_is_a_call_whose_service_may_be_left_out() -> None:
    value = orjson.dumps({"data": ["a.jpg"], "parameters": {"output": {"best": 3}}})
    call = messages.to_call(record(value), "x", 1000, ignore)
    assert (call.service, list(call.data), call.raw) == ("x", ["a.jpg"], False)
    assert call.parameters.output == {"best": 3}


def test_bytes_of_one_datum_are_named_by_uri_then_correlation_then_position() -> None:
    jpeg = {"content_type": b"image/jpeg"}
    named = record(b"\xff", **jpeg, dd_uri=b"cam-1/9")
    assert messages.to_call(named, "x", 1000, ignore).uris == ("cam-1/9",)
    unnamed = record(b"\xff", **jpeg)
    assert messages.to_call(unnamed, "x", 1000, ignore).uris == ("dd.predict.x/3/7",)
    correlated = record(b"\xff", **jpeg)
    correlated.headers += (("correlation_id", b"c1"),)
    assert messages.to_call(correlated, "x", 1000, ignore).uris == ("c1",)


def test_a_deadline_in_milliseconds_becomes_seconds() -> None:
    call = messages.to_call(record(b"{}", dd_deadline=b"1500"), "x", 1000, ignore)
    assert call.deadline == 1.5


@pytest.mark.parametrize(
    "bad",
    [
        record(b"{"),
        record(b"\xff\xfe"),
        record(b"[]"),
        record(b'{"data": "no list"}'),
        record(b'{"data": ["a"], "service": "other"}'),
        record(b"{}", dd_deadline=b"soon"),
        record(b"x", content_type="image/jpég".encode()),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(bad: Any) -> None:
    with pytest.raises(BadRequest):
        messages.to_call(bad, "x", 1000, ignore)


def test_a_record_over_the_limit_is_refused_by_the_setting_s_name() -> None:
    with pytest.raises(TooLarge, match="DDSTREAM_MAX_REQUEST_BYTES"):
        messages.to_call(record(b"x" * 11), "x", 10, ignore)


def test_an_answer_carries_the_key_the_status_its_source_and_unknown_headers() -> None:
    request = record(b"{}", traceparent=b"00-1", mine=b"1", dd_deadline=b"9")
    out = messages.prediction(Answer(200, {"method": "/predict"}), request, "x")
    assert out.key == b"k"
    assert dict(out.headers) == {
        "traceparent": b"00-1",
        "mine": b"1",
        "content-type": b"application/json",
        "dd-status": b"200",
        "dd-service": b"x",
        "dd-source": b"dd.predict.x/3/7",
    }


def test_an_error_carries_its_code() -> None:
    out = messages.prediction(InputError("bad"), record(b"{}"), "x")
    headers = dict(out.headers)
    assert (headers["dd-status"], headers["dd-error-code"]) == (b"400", b"1005")
    assert orjson.loads(out.value)["status"]["dd_code"] == 1005


def test_a_caller_gets_the_sink_s_answer_and_the_results_topic_the_prediction() -> None:
    answer = Answer(200, {}, {"predictions": []}, relay=Relay(202, b"taken", "text/plain"))
    assert messages.outgoing(answer, record(b"{}"), "x").value == b"taken"
    assert b"predictions" in messages.prediction(answer, record(b"{}"), "x").value


def test_a_reply_is_read_back_as_what_it_was() -> None:
    out = messages.outgoing(Answer(200, {"a": 1}, {"b": 2}), record(b"{}"), "x")
    answer = messages.from_reply(out.value, dict(out.headers))
    assert (answer.code, answer.head, answer.body) == (200, {"a": 1}, {"b": 2})
    assert answer.for_caller()[1] is out.value
    told = orjson.loads(answer.with_head(warnings=["w"]).for_caller()[1])
    assert told["head"] == {"a": 1, "warnings": ["w"]}
    error = messages.outgoing(InputError("bad"), record(b"{}"), "x")
    with pytest.raises(InputError, match="bad"):
        messages.from_reply(error.value, dict(error.headers))
