"""Exactly once: answers, rejects, replies and offsets are seen together, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import TopicPartition

from ddstream.api.predict import Call, PredictRequest
from ddstream.api.service import Parameters, ServiceDefinition
from ddstream.errors import InputError, InternalError
from ddstream.stream.connection import started, stopped
from tests.kafka.echo import EchoHost, echo
from tests.kafka.plane import Plane, body, eventually, headers, uris

JPEG = {"content-type": b"image/jpeg"}
EXACT = ServiceDefinition(
    mllib="echo",
    parameters=Parameters(stream={"delivery": "exactly_once", "retry_backoff": 0.01}),
)


async def _send(plane: Plane, numbers: range, partition: int = 0) -> None:
    for number in numbers:
        await plane.send("x", b"1", {**JPEG, "dd-uri": b"%d" % number}, partition=partition)


async def test_every_answer_is_committed_with_its_offset(plane: Plane) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    await api.create_service("x", EXACT)
    await _send(plane, range(30))
    assert uris(await plane.results("x", 30)) == [str(n) for n in range(30)]
    assert (await plane.committed("x"))[0] == 30
    answer = await api.predict(PredictRequest(service="x", data=["a"]))
    assert answer.body["predictions"] == [{"uri": "a"}]


async def test_the_delivery_of_the_creation_is_kept_in_the_definition(plane: Plane) -> None:
    await plane.worker(EchoHost())
    api = await plane.bridge()
    await api.create_service("x", EXACT)
    await api.create_service("y", ServiceDefinition(mllib="echo"))
    rows = {r.key: body(r) for r in await plane.read(plane.topics.services, 2)}
    stream = {key: row["definition"]["parameters"]["stream"] for key, row in rows.items()}
    assert stream[b"x"]["delivery"] == "exactly_once"
    assert stream[b"y"]["delivery"] == "at_least_once"


async def test_rejects_are_in_the_transaction_of_their_error(plane: Plane) -> None:
    def picky(call: Call) -> None:
        if call.data[0] == b"bad":
            call.done(InputError("bad"))
        else:
            echo(call)

    await plane.worker(EchoHost(picky))
    await (await plane.bridge()).create_service("x", EXACT)
    await plane.send("x", b"bad", JPEG, partition=0)
    await plane.send("x", b"good", JPEG, partition=0)
    results = await plane.results("x", 2)
    assert [headers(r)["dd-status"] for r in results] == [b"400", b"200"]
    (reject,) = await plane.read(plane.topics.rejects, 1)
    assert reject.value == b"bad"
    assert headers(reject)["dd-attempts"] == b"1"


async def test_what_a_dead_predecessor_left_open_is_aborted_and_done_again(plane: Plane) -> None:
    """The predecessor: a producer of the same id that wrote an answer and never committed."""
    host = EchoHost()
    first = await plane.worker(host)
    await (await plane.bridge()).create_service("x", EXACT)
    await _send(plane, range(3))
    await plane.results("x", 3)
    await plane.drain(first)
    dead = plane.connection.producer(transactional_id=f"{plane.topics.predict('x')}-0")
    await started(dead)
    await dead.begin_transaction()
    await dead.send_and_wait(plane.topics.results("x"), b"{}", partition=0)
    await dead.send_offsets_to_transaction(
        {TopicPartition(plane.topics.predict("x"), 0): 5}, plane.topics.predict("x")
    )
    await _send(plane, range(3, 6))
    await plane.worker(EchoHost())
    assert uris(await plane.results("x", 6)) == [str(n) for n in range(6)]
    await stopped(dead)


async def test_a_worker_that_is_fenced_off_joins_again_and_nothing_comes_twice(
    plane: Plane,
) -> None:
    await plane.worker(EchoHost())
    await (await plane.bridge()).create_service("x", EXACT)
    await _send(plane, range(5))
    await plane.results("x", 5)
    other = plane.connection.producer(transactional_id=f"{plane.topics.predict('x')}-0")
    await started(other)
    await stopped(other)
    await _send(plane, range(5, 10))
    assert uris(await plane.results("x", 10)) == [str(n) for n in range(10)]


@pytest.mark.parametrize("workers", [2])
async def test_rebalances_under_load_neither_lose_nor_repeat(plane: Plane, workers: int) -> None:
    loop = asyncio.get_running_loop()
    slow = _later(loop)
    running = [await plane.worker(EchoHost(slow))]
    await (await plane.bridge()).create_service("x", EXACT)
    sending = asyncio.create_task(_spread(plane, 600))
    for _ in range(workers):
        running.append(await plane.worker(EchoHost(slow)))
    await plane.drain(running.pop(0))
    await sending
    results = await plane.results("x", 600)
    await eventually(lambda: _all_committed(plane, 600))
    assert sorted(int(u) for u in uris(results)) == list(range(600))
    by_partition: dict[int, list[int]] = {}
    for record in results:
        by_partition.setdefault(record.partition, []).append(int(uris([record])[0]))
    assert all(numbers == sorted(numbers) for numbers in by_partition.values())


async def _spread(plane: Plane, count: int) -> None:
    for number in range(count):
        await plane.send("x", b"1", {**JPEG, "dd-uri": b"%d" % number}, partition=number % 3)


async def _all_committed(plane: Plane, count: int) -> bool:
    return sum((await plane.committed("x")).values()) == count


def _later(loop: asyncio.AbstractEventLoop) -> Callable[[Call], None]:
    def respond(call: Call) -> None:
        loop.call_later(0.02, echo, call)

    return respond


async def test_a_transient_failure_is_tried_again_and_holds_the_answers_behind_it(
    plane: Plane,
) -> None:
    failures = iter(range(2))

    def sometimes(call: Call) -> None:
        if call.uris == ("1",) and next(failures, None) is not None:
            call.done(InternalError("no memory").graded("transient"))
        else:
            echo(call)

    await plane.worker(EchoHost(sometimes))
    await (await plane.bridge()).create_service("x", EXACT)
    await _send(plane, range(4))
    assert uris(await plane.results("x", 4)) == ["0", "1", "2", "3"]


async def test_a_failure_that_lasts_is_rejected_with_its_attempts(plane: Plane) -> None:
    def never(call: Call) -> None:
        call.done(InternalError("no memory").graded("transient"))

    await plane.worker(EchoHost(never))
    definition = ServiceDefinition(
        mllib="echo", parameters=Parameters(stream={"retries": 2, "retry_backoff": 0.01})
    )
    await (await plane.bridge()).create_service("x", definition)
    await _send(plane, range(1))
    (reject,) = await plane.read(plane.topics.rejects, 1)
    assert headers(reject)["dd-attempts"] == b"3"
    assert headers(reject)["dd-error-code"] == b"1007"
