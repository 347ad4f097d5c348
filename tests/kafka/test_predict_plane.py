"""The predict plane on a real broker: order, commits, rejects, replies, sharing."""

from __future__ import annotations

import asyncio
import random
import time

import orjson
import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from ddstream.api.envelope import Answer
from ddstream.api.predict import Call, PredictRequest
from ddstream.errors import InputError, ParameterError, ServiceNotFound, TimedOut
from tests.kafka.echo import EchoHost, Respond, echo
from tests.kafka.plane import ECHO, Plane, body, eventually, headers, uris

JPEG = {"content-type": b"image/jpeg"}


async def test_json_and_raw_records_are_answered_in_the_partition_of_their_request(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost())
    await (await plane.bridge()).create_service("x", ECHO)
    sent = [
        await plane.send("x", b'{"data": ["a", "b"]}', {"correlation_id": b"c1"}, partition=0),
        await plane.send("x", b"\xff\xd8", {**JPEG, "dd-uri": b"cam/1"}, key=b"k", partition=2),
        await plane.send("x", b"\xff\xd8", JPEG, partition=1),
    ]
    results = await plane.results("x", 3)
    by_source = {headers(r)["dd-source"].decode(): r for r in results}
    for partition, offset in sent:
        assert by_source[f"{plane.topics.predict('x')}/{partition}/{offset}"].partition == partition
    assert sorted(uris(results)) == sorted(
        ["a", "b", "cam/1", f"{plane.topics.predict('x')}/1/{sent[2][1]}"]
    )
    keyed = next(r for r in results if r.key)
    assert (keyed.key, headers(keyed)["dd-status"]) == (b"k", b"200")
    assert headers(results[0])["content-type"] == b"application/json"


async def test_answers_keep_the_order_of_requests_when_they_finish_out_of_order(
    plane: Plane,
) -> None:
    loop = asyncio.get_running_loop()
    host = EchoHost(lambda call: _later(loop, call, random.uniform(0, 0.05)))
    await plane.worker(host)
    await (await plane.bridge()).create_service("x", ECHO)
    for number in range(200):
        await plane.producer.send(
            plane.topics.predict("x"),
            b"1",
            partition=number % 3,
            headers=[*JPEG.items(), ("dd-uri", b"%d" % number)],
        )
    results = await plane.results("x", 200)
    for partition in range(3):
        numbers = [int(u) for u in uris([r for r in results if r.partition == partition])]
        assert numbers == list(range(partition, 200, 3))


def _later(loop: asyncio.AbstractEventLoop, call: Call, seconds: float) -> None:
    loop.call_later(seconds, echo, call)


async def test_offsets_are_committed_only_behind_finished_work(plane: Plane) -> None:
    held: list[Call] = []
    host = EchoHost(lambda call: held.append(call) if call.uris == ("3",) else echo(call))
    await plane.worker(host)
    await (await plane.bridge()).create_service("x", ECHO)
    for number in range(10):
        await plane.send("x", b"1", {**JPEG, "dd-uri": b"%d" % number}, partition=0)
    await plane.results("x", 3)
    await eventually(lambda: _committed(plane, {0: 3}))
    echo(held[0])
    assert uris(await plane.results("x", 10)) == [str(n) for n in range(10)]
    await eventually(lambda: _committed(plane, {0: 10}))


async def _committed(plane: Plane, wanted: dict[int, int]) -> bool:
    return wanted.items() <= (await plane.committed("x")).items()


async def test_a_bad_record_is_answered_and_kept_byte_for_byte_among_good_ones(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost(_no_poison))
    await (await plane.bridge()).create_service("x", ECHO)
    poison = b"\x00poison\xff"
    await plane.send("x", b"good", JPEG, partition=0)
    partition, offset = await plane.send(
        "x", poison, {**JPEG, "mine": b"\x01\xfe"}, key=b"k", partition=0
    )
    await plane.send("x", b"{no json", {}, partition=0)
    await plane.send("x", b"good", JPEG, partition=0)
    results = await plane.results("x", 4)
    assert [headers(r)["dd-status"] for r in results] == [b"200", b"400", b"400", b"200"]
    assert body(results[1])["status"]["dd_code"] == 1005
    assert headers(results[1])["dd-error-code"] == b"1005"
    rejects = await plane.read(plane.topics.rejects, 2)
    reject = next(r for r in rejects if r.value == poison)
    assert reject.key == b"k"
    kept = headers(reject)
    assert kept["mine"] == b"\x01\xfe"
    assert kept["dd-error-code"] == b"1005"
    assert kept["dd-original-topic"].decode() == plane.topics.predict("x")
    assert (kept["dd-original-partition"], kept["dd-original-offset"]) == (
        b"%d" % partition,
        b"%d" % offset,
    )


def _no_poison(call: Call) -> None:
    if isinstance(call.data[0], bytes) and b"poison" in call.data[0]:
        call.done(InputError("poison"))
    else:
        echo(call)


async def test_a_record_over_the_limit_is_answered_with_413_and_kept(plane: Plane) -> None:
    await plane.worker(EchoHost())
    await (await plane.bridge()).create_service("x", ECHO)
    big = b"x" * (plane.settings.max_request_bytes + 10)
    await plane.send("x", big, JPEG)
    (result,) = await plane.results("x", 1)
    assert body(result)["status"]["code"] == 413
    assert "DDSTREAM_MAX_REQUEST_BYTES" in body(result)["status"]["dd_msg"]
    (reject,) = await plane.read(plane.topics.rejects, 1)
    assert reject.value == big


async def test_bad_parameters_are_answered_but_not_rejected(plane: Plane) -> None:
    await plane.worker(EchoHost(lambda call: call.done(ParameterError("no such option"))))
    await (await plane.bridge()).create_service("x", ECHO)
    await plane.send("x", b'{"data": ["a"]}')
    (result,) = await plane.results("x", 1)
    assert body(result)["status"]["dd_code"] == 1006
    assert await plane.ends(plane.topics.rejects) == 0


async def test_reply_to_gets_the_answer_and_errors_of_replies_are_not_rejected(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost(_no_poison))
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    answer = await api.predict(PredictRequest(service="X", data=["hello"]))
    assert answer.body["predictions"] == [{"uri": "hello"}]
    assert await plane.ends(plane.topics.results("x")) == 0
    reply = {**JPEG, "reply_to": plane.topics.replies(api.id).encode(), "correlation_id": b"z"}
    await plane.send("x", b"poison", reply)
    replies = await plane.read(plane.topics.replies(api.id), 3)
    assert body(replies[-1])["status"]["dd_code"] == 1005
    assert headers(replies[-1])["correlation_id"] == b"z"
    assert await plane.ends(plane.topics.rejects) == 0


@pytest.mark.parametrize("target", ["services", "missing", "nowhere"])
async def test_a_reply_topic_that_may_not_be_used_is_1006_on_results(
    plane: Plane, target: str
) -> None:
    names = {
        "services": plane.topics.services,
        "missing": plane.topics.replies("no-such-bridge"),
        "nowhere": "elsewhere",
    }
    await plane.worker(EchoHost())
    await (await plane.bridge()).create_service("x", ECHO)
    before = await plane.ends(plane.topics.services)
    await plane.send("x", b"1", {**JPEG, "reply_to": names[target].encode()})
    (result,) = await plane.results("x", 1)
    assert body(result)["status"]["dd_code"] == 1006
    assert names[target] in body(result)["status"]["dd_msg"]
    assert await plane.ends(plane.topics.services) == before


async def test_two_workers_share_the_partitions_of_one_service(plane: Plane) -> None:
    first, second = EchoHost(), EchoHost()
    seen: list[list[Call]] = [[], []]

    def noting(calls: list[Call]) -> Respond:
        def respond(call: Call) -> None:
            calls.append(call)
            echo(call)

        return respond

    first.respond, second.respond = noting(seen[0]), noting(seen[1])
    await plane.worker(first)
    await (await plane.bridge()).create_service("x", ECHO)
    await plane.worker(second)
    await eventually(lambda: "x" in second.services)
    sent = 0

    async def both_work() -> bool:
        nonlocal sent
        for _ in range(30):
            uri = {**JPEG, "dd-uri": b"%d" % sent}
            await plane.send("x", b"1", uri, partition=sent % 3)
            sent += 1
        return bool(seen[1]) and bool(seen[0])

    await eventually(both_work)
    results = await plane.results("x", sent)
    assert sorted(set(uris(results)), key=int) == [str(n) for n in range(sent)]


async def test_a_late_worker_takes_over_what_the_first_did_not_finish(plane: Plane) -> None:
    stuck: list[Call] = []
    first = EchoHost(stuck.append)
    worker = await plane.worker(first)
    await (await plane.bridge()).create_service("x", ECHO)
    for number in range(6):
        await plane.send("x", b"1", {**JPEG, "dd-uri": b"%d" % number}, partition=number % 3)
    await eventually(lambda: len(stuck) == 6)
    late = EchoHost()
    joining = asyncio.create_task(plane.worker(late))
    # The rebalance waits for the first worker's answers; they come now.
    for call in stuck:
        echo(call)
    await joining
    results = await plane.results("x", 6)
    assert sorted(uris(results)) == [str(n) for n in range(6)]
    await plane.drain(worker)
    await plane.send("x", b"1", {**JPEG, "dd-uri": b"last"})
    assert uris(await plane.results("x", 7))[-1] == "last" or "last" in uris(
        await plane.results("x", 7)
    )


async def test_a_drain_answers_what_was_taken_and_commits_it(plane: Plane) -> None:
    loop = asyncio.get_running_loop()
    worker = await plane.worker(EchoHost(lambda call: _later(loop, call, 0.3)))
    await (await plane.bridge()).create_service("x", ECHO)
    await asyncio.gather(*(plane.send("x", b"1", JPEG, partition=0) for _ in range(50)))
    await eventually(lambda: _answered_some(plane))
    await plane.drain(worker)
    answered = await plane.ends(plane.topics.results("x"))
    assert (await plane.committed("x"))[0] == answered
    await plane.worker(EchoHost())
    results = await plane.results("x", 50)
    assert len({headers(r)["dd-source"] for r in results}) == 50


async def _answered_some(plane: Plane) -> bool:
    return await plane.ends(plane.topics.results("x")) > 0


async def test_a_full_host_pauses_the_partitions_and_loses_nothing(plane: Plane) -> None:
    loop = asyncio.get_running_loop()
    host = EchoHost(lambda call: _later(loop, call, 0.002), max_calls=20)
    await plane.worker(host)
    await (await plane.bridge()).create_service("x", ECHO)
    futures = [
        await plane.producer.send(
            plane.topics.predict("x"), b"1", partition=n % 3, headers=[*JPEG.items()]
        )
        for n in range(3000)
    ]
    await asyncio.gather(*futures)
    results = await plane.results("x", 3000)
    assert len({headers(r)["dd-source"] for r in results}) == 3000
    assert host.most < 20 + 300, "one poll's records at most beyond the limit"


async def test_an_unknown_service_is_1002_for_a_caller_and_unknown_topic_for_a_producer(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    with pytest.raises(ServiceNotFound):
        await api.predict(PredictRequest(service="nobody", data=["a"]))
    async with plane.connection.admin() as admin:
        (topic,) = await admin.describe_topics([plane.topics.predict("nobody")])
    assert topic["error_code"] == UnknownTopicOrPartitionError.errno


async def test_requests_left_at_a_deletion_are_answered_with_1002(plane: Plane) -> None:
    held: list[Call] = []
    await plane.worker(EchoHost(held.append, max_calls=2))
    api = await plane.bridge()
    await api.create_service("x", ECHO)
    await asyncio.gather(*(plane.send("x", b"1", JPEG, partition=0) for _ in range(5)))
    await eventually(lambda: len(held) >= 1)
    deleting = asyncio.create_task(api.delete_service("x"))
    await eventually(lambda: _gone(api))
    for call in held:
        echo(call)
    await asyncio.gather(*(plane.send("x", b"1", JPEG, partition=0) for _ in range(3)))
    await deleting
    results = await plane.results("x", 5)
    codes = {body(r)["status"].get("dd_code") for r in results}
    assert codes <= {None, 1002}
    async with plane.connection.admin() as admin:
        assert plane.topics.predict("x") not in await admin.list_topics()
        assert plane.topics.results("x") in await admin.list_topics()


async def _gone(api: object) -> bool:
    rows = api._bridge.services.rows  # type: ignore[attr-defined]
    return "x" not in rows


async def test_a_bridge_waits_no_longer_than_its_timeout(plane: Plane) -> None:
    plane.connection.settings = plane.settings.model_copy(update={"request_timeout": 1.0})
    held: list[Call] = []
    await plane.worker(EchoHost(held.append))
    api = await plane.bridge()
    plane.connection.settings = plane.settings
    await api.create_service("x", ECHO)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await api.predict(PredictRequest(service="x", data=["a"]))
    assert time.monotonic() - began < 10
    echo(held[0])


async def test_an_answer_over_the_limit_becomes_an_error_answer(plane: Plane) -> None:
    huge = Answer(200, {}, {"predictions": [{"uri": "x" * (2 << 20)}]})
    await plane.worker(EchoHost(lambda call: call.done(huge)))
    await (await plane.bridge()).create_service("x", ECHO)
    await plane.send("x", b"1", JPEG)
    (result,) = await plane.results("x", 1)
    assert orjson.loads(result.value)["status"]["code"] == 413
