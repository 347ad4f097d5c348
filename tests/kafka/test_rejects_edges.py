"""Rejects at their edges: strange records, changed topics, many of them, and purges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from ddstream.api.stream import RejectMark
from ddstream.errors import Unavailable
from ddstream.stream.admin import delete_topic, ensure_topics
from ddstream.stream.rejects import rejects as rejects_module
from ddstream.stream.rejects.reject import Reject, RejectId, Which
from tests.kafka.plane import Plane
from tests.kafka.rejecting import (
    RAW,
    done,
    drained,
    opened,
    rejected,
    until_rejected,
)


async def test_a_reject_of_a_partition_that_is_no_more_stays(plane: Plane) -> None:
    await rejected(plane, 3)
    topic = plane.topics.predict("x")
    # A consumer of a topic that is gone does not end its last commit.
    await drained(plane)
    await delete_topic(plane.connection, topic)
    await ensure_topics(plane.connection, [_with_one_partition(plane)])
    async with opened(plane) as rejects:
        outcome = await done(rejects.replay(Which(), dry_run=True))
        assert sorted(each.detail for each in outcome) == [
            f"{topic} has no partition 1 any more",
            f"{topic} has no partition 2 any more",
            f"would go to {topic}/0",
        ]


def _with_one_partition(plane: Plane) -> Any:
    settings = plane.settings.model_copy(update={"partitions": 1})
    return type(plane.topics)(settings).of_service("x")[0]


async def test_a_record_that_was_rejected_twice_is_one_and_goes_back_once(plane: Plane) -> None:
    cause = await rejected(plane, 1)
    cause.mended = True
    (reject,) = await plane.read(plane.topics.rejects, 1)
    # What a worker that died before its commit leaves behind.
    other = RejectId((reject.partition + 1) % 6, 0)
    await plane.producer.send_and_wait(
        plane.topics.rejects,
        reject.value,
        reject.key,
        other.partition,
        headers=list(reject.headers),
    )
    async with opened(plane) as rejects:
        (one,) = await rejects.list()
        assert {one.id, *one.copies} == {RejectId(reject.partition, reject.offset), other}
        assert len(await done(rejects.replay(Which(ids=(other,))))) == 1
        assert await rejects.list() == []
    assert await plane.ends(plane.topics.predict("x")) == 2


async def test_the_clients_own_headers_of_our_names_come_back(plane: Plane) -> None:
    await rejected(plane, 0)
    services = plane.topics.services.encode()
    own = {**RAW, "dd-original-topic": services, "dd-error-code": b"mine"}
    own["dd-value-encoding"] = b"gzip"
    await plane.send("x", b"bad", own, partition=1)
    await until_rejected(plane, 1)
    async with opened(plane) as rejects:
        (reject,) = await rejects.list()
        assert (dict(reject.headers), reject.code) == (own, "1005")
        (outcome,) = await done(rejects.replay(Which()))
        assert outcome.detail == f"{plane.topics.predict('x')}/1/1"


async def test_a_record_that_no_worker_wrote_is_listed_and_dropped_but_not_replayed(
    plane: Plane,
) -> None:
    await rejected(plane, 0)
    services = plane.topics.services.encode()
    place = {"dd-original-partition": b"0", "dd-original-offset": b"0"}
    forgeries = ({"a": b"b"}, {"dd-error-code": b"1", **place, "dd-original-topic": services})
    for forged in forgeries:
        await plane.producer.send_and_wait(
            plane.topics.rejects, b"x", headers=list(forged.items()), partition=0
        )
    rows = await plane.ends(plane.topics.services)
    async with opened(plane) as rejects:
        outcome = await done(rejects.replay(Which()))
        assert sorted(each.detail for each in outcome) == [
            "it does not say where it came from: no worker wrote it",
            f"{plane.topics.services} is no topic of requests",
        ]
        assert await plane.ends(plane.topics.services) == rows
        assert all(each.ok for each in await done(rejects.drop(Which())))
        assert await rejects.list() == []


async def test_a_purge_deletes_what_is_resolved_and_forgets_its_marks(plane: Plane) -> None:
    cause = await rejected(plane, 9)
    async with opened(plane) as rejects:
        found = await rejects.list()
        keep = max(found, key=lambda r: r.id)
        await done(rejects.drop(Which(ids=tuple(r.id for r in found if r is not keep))))
        assert await rejects.purge() == 8
        assert await rejects.list() == [keep]
        assert await rejects._marks.read() == {}
        cause.mended = True
        assert all(each.ok for each in await done(rejects.replay(Which())))


async def test_marks_of_a_rejects_topic_that_was_made_anew_hide_nothing(plane: Plane) -> None:
    await rejected(plane, 1)
    async with opened(plane) as rejects:
        (reject,) = await rejects.list()
        stale = RejectMark(outcome="dropped", source="a/0/0", rejected=1, time=1.0, by="somebody")
        await ensure_topics(plane.connection, plane.topics.fixed())
        await plane.producer.send_and_wait(
            plane.topics.rejects_state, orjson.dumps(stale.model_dump()), str(reject.id).encode()
        )
        assert await rejects.list() == [reject]


async def test_records_with_no_key_and_no_value_come_back_so(plane: Plane) -> None:
    cause = await rejected(plane, 0)
    await plane.send("x", None, {}, key=b"k", partition=0)
    await plane.send("x", b"bad", RAW, partition=0)
    await until_rejected(plane, 2)
    cause.mended = True
    async with opened(plane) as rejects:
        assert all(each.ok for each in await done(rejects.replay(Which())))
    again = (await plane.read(plane.topics.predict("x"), 4))[2:]
    assert [(r.key, r.value) for r in again] == [(b"k", None), (None, b"bad")]


async def test_a_reject_over_the_limit_of_its_topic_stays_and_says_so(plane: Plane) -> None:
    await rejected(plane, 0)
    big = b"bad" + b"x" * (plane.settings.max_request_bytes + 3500)
    await plane.send("x", big, RAW, partition=0)
    await until_rejected(plane, 1)
    topic = plane.topics.predict("x")
    await drained(plane)
    smaller = plane.settings.model_copy(update={"max_request_bytes": 1 << 19})
    await delete_topic(plane.connection, topic)
    await ensure_topics(plane.connection, type(plane.topics)(smaller).of_service("x"))
    async with opened(plane) as rejects:
        (outcome,) = await done(rejects.replay(Which()))
        assert not outcome.ok
        assert f"{topic} takes {(1 << 19) + 4096}" in outcome.detail
        assert len(await rejects.list()) == 1


async def test_a_broker_that_is_away_is_said(plane: Plane) -> None:
    plane.connection.settings = plane.settings.model_copy(update={"bootstrap": "127.0.0.1:1"})
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer"):
        async with opened(plane):
            pass
    plane.connection.settings = plane.settings


async def test_a_cluster_without_rejects_has_an_empty_list(plane: Plane) -> None:
    async with opened(plane) as rejects:
        nothing: Sequence[Reject] = await rejects.list()
        assert nothing == []


async def test_many_rejects_are_replayed_in_bounded_portions(plane: Plane) -> None:
    cause = await rejected(plane, 0)
    futures = [
        await plane.producer.send(
            plane.topics.predict("x"), b"bad", partition=n % 3, headers=[*RAW.items()]
        )
        for n in range(2000)
    ]
    await asyncio.gather(*futures)
    await until_rejected(plane, 2000)
    cause.mended = True
    async with opened(plane) as rejects:
        began = time.perf_counter()
        sizes = [len(step) async for step in rejects.replay(Which())]
        print(f"replayed {sum(sizes)} rejects in {time.perf_counter() - began:.2f} s")
        assert sum(sizes) == 2000
        assert max(sizes) <= rejects_module.PORTION
        assert await rejects.list() == []
