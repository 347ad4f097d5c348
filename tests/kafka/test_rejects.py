"""Rejects on a real broker: found, shown, sent back in order, dropped, and never lost."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any

import pytest

from ddstream.errors import NotFound, Unavailable
from ddstream.stream.rejects import rejects as rejects_module
from ddstream.stream.rejects.reject import RejectId, Which
from ddstream.stream.rejects.rejects import Done
from tests.kafka.plane import ECHO, Plane, eventually, headers, uris
from tests.kafka.rejecting import (
    RAW,
    done,
    opened,
    rejected,
    send_bad,
    until_rejected,
)


async def test_a_list_tells_why_and_whence_and_filters_by_service_code_and_time(
    plane: Plane,
) -> None:
    await rejected(plane, 3)
    api = await plane.bridge()
    await api.create_service("Other One", ECHO)
    before = time.time()
    await plane.send("other one", b"{no json", partition=1)
    await until_rejected(plane, 4)
    async with opened(plane) as rejects:
        everything = await rejects.list()
        first = next(r for r in everything if r.service == "x" and r.headers[1][1] == b"0")
        assert (first.code, first.attempts, first.size, first.key) == ("1005", 1, 5, b"k0")
        assert "it is bad" in first.message
        assert first.origin is not None
        assert str(first.origin) == f"{plane.topics.predict('x')}/0/0"
        assert first.headers == (("content-type", b"image/jpeg"), ("dd-uri", b"0"))
        assert abs(first.time - time.time()) < 120
        assert len(everything) == 4

        async def count(**filters: Any) -> int:
            return len(await rejects.list(Which(**filters)))

        assert await count(service="X") == 3
        assert [r.service for r in await rejects.list(Which(code="400"))] == ["other one"]
        assert await count(code="400", service="x") == 0
        assert await count(since=before) == 1
        assert await count(until=before) == 3
        assert await count(limit=2) == 2
        assert await count(ids=(first.id,)) == 1


async def test_one_reject_is_shown_with_its_bytes(plane: Plane) -> None:
    await rejected(plane, 1)
    async with opened(plane) as rejects:
        (reject,) = await rejects.list()
        shown, value = await rejects.show(reject.id)
        assert (shown, value) == (reject, b"bad 0")
        with pytest.raises(NotFound, match="9/9"):
            await rejects.show(RejectId(9, 9))


async def test_a_replay_goes_back_byte_for_byte_in_order_and_is_answered_when_the_cause_is_mended(
    plane: Plane,
) -> None:
    cause = await rejected(plane, 30)
    cause.mended = True
    async with opened(plane) as rejects:
        before = {r.id: r for r in await rejects.list()}
        outcome = await done(rejects.replay(Which()))
        assert all(each.ok for each in outcome)
        assert len(outcome) == 30
        assert await rejects.list() == []
        resolved = await rejects.list(Which(resolved=True))
        assert {r.id for r in resolved} == set(before)
    records = await plane.read(plane.topics.predict("x"), 60)
    for partition in range(3):
        there = [r for r in records if r.partition == partition]
        first, again = there[:10], there[10:]
        for original, replay in zip(first, again, strict=True):
            assert (replay.key, replay.value) == (original.key, original.value)
            assert replay.headers[: len(original.headers)] == original.headers
            lineage = headers(replay)
            assert lineage["dd-replays"] == b"1"
            topic, reject_id = lineage["dd-replay-of"].decode().split("/", 1)
            assert topic == plane.topics.rejects
            reject = before[RejectId.parse(reject_id)]
            assert reject.origin is not None
            assert reject.origin.offset == original.offset
            mark = next(r.mark for r in resolved if r.id == reject.id)
            assert mark is not None
            assert mark.outcome == "replayed"
            assert mark.by == "tester"
            assert mark.target == f"{replay.topic}/{partition}/{replay.offset}"
    results = await plane.results("x", 60)
    good = [r for r in results if headers(r)["dd-status"] == b"200"]
    assert sorted(uris(good), key=int) == [str(n) for n in range(30)]
    for partition in range(3):
        answered = [int(u) for u in uris([r for r in good if r.partition == partition])]
        assert answered == sorted(answered)


async def test_a_replay_that_fails_again_counts_and_keeps_its_latest_lineage(plane: Plane) -> None:
    await rejected(plane, 1)
    async with opened(plane) as rejects:
        await done(rejects.replay(Which()))
        await until_rejected(plane, 2)
        (again,) = await rejects.list()
        await done(rejects.replay(Which(ids=(again.id,))))
        await until_rejected(plane, 3)
        (third,) = await rejects.list()
        lineage = [header for header in third.headers if header[0].startswith("dd-replay")]
        of = f"{plane.topics.rejects}/{again.id}".encode()
        assert lineage == [("dd-replay-of", of), ("dd-replays", b"2")]


async def test_what_was_dropped_is_listed_no_more_and_cannot_be_replayed(plane: Plane) -> None:
    await rejected(plane, 3)
    async with opened(plane) as rejects:
        first, *others = await rejects.list()
        assert await done(rejects.drop(Which(ids=(first.id,)))) == [Done(first.id, True, "dropped")]
        assert await rejects.list() == others
        (gone,) = await done(rejects.replay(Which(ids=(first.id,))))
        assert not gone.ok
        assert "no such open reject" in gone.detail
        shown, value = await rejects.show(first.id)
        assert value is not None
        assert shown.mark is not None
        assert shown.mark.outcome == "dropped"


async def test_a_dry_run_changes_nothing(plane: Plane) -> None:
    await rejected(plane, 2)
    async with opened(plane) as rejects:
        before = await rejects.list()
        would = await done(rejects.replay(Which(), dry_run=True))
        assert [each.detail for each in would] == [
            f"would go to {plane.topics.predict('x')}/{r.origin.partition}"
            for r in before
            if r.origin
        ]
        await done(rejects.drop(Which(), dry_run=True))
        assert await rejects.list() == before
    assert await plane.ends(plane.topics.predict("x")) == 2


async def test_a_reject_whose_service_is_gone_stays_and_the_others_go(plane: Plane) -> None:
    cause = await rejected(plane, 2)
    api = await plane.bridge()
    await api.create_service("y", ECHO)
    await send_bad(plane, [0], "y")
    await until_rejected(plane, 3)
    await api.delete_service("x")
    cause.mended = True
    async with opened(plane) as rejects:
        outcome = await done(rejects.replay(Which()))
        assert sorted(each.ok for each in outcome) == [False, False, True]
        assert {e.detail for e in outcome if not e.ok} == {"the service x does not exist"}
        assert [r.service for r in await rejects.list()] == ["x", "x"]
        await api.create_service("x", ECHO)
        assert all(each.ok for each in await done(rejects.replay(Which())))


async def test_a_replay_that_was_cut_off_repeats_at_most_one_portion_and_loses_none(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects_module, "PORTION", 4)
    cause = await rejected(plane, 12)
    cause.mended = True
    async with opened(plane) as rejects:
        steps = rejects.replay(Which())
        async with aclosing(steps):
            assert await anext(steps) == []
            first = await anext(steps)
            assert len(first) == 4

            async def dies(_: object) -> None:
                raise Unavailable("power failure")

            # The second portion is sent, and not marked.
            monkeypatch.setattr(rejects._marks, "add", dies)
            with pytest.raises(Unavailable):
                await anext(steps)
    async with opened(plane) as rejects:
        left = await rejects.list()
        assert len(left) == 8
        assert not {r.id for r in left} & {each.id for each in first}
        assert len(await done(rejects.replay(Which()))) == 8
        assert await rejects.list() == []
    results = await plane.results("x", 12 + 4 + 4 + 8)
    good = uris([r for r in results if headers(r)["dd-status"] == b"200"])
    assert set(good) == {str(n) for n in range(12)}
    assert len(good) == 16


async def test_who_begins_later_stops_who_began_earlier(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects_module, "PORTION", 2)
    cause = await rejected(plane, 6)
    cause.mended = True
    async with opened(plane) as one, opened(plane) as other:
        slow = one.replay(Which())
        async with aclosing(slow):
            await anext(slow)
            assert len(await anext(slow)) == 2
            assert len(await done(other.drop(Which()))) == 4
            with pytest.raises(Unavailable, match="somebody else"):
                await anext(slow)
        assert await other.list() == []


async def test_a_deadline_that_has_passed_is_left_out_of_a_replay_and_another_stays(
    plane: Plane,
) -> None:
    cause = await rejected(plane, 0)
    soon, late = int(time.time() * 1000) + 1500, b"%d" % (int(time.time() * 1000) + 3_600_000)
    await plane.send("x", b"bad", {**RAW, "dd-deadline": b"%d" % soon}, partition=0)
    await plane.send("x", b"bad", {**RAW, "dd-deadline": late}, partition=0)
    await eventually(lambda: time.time() * 1000 > soon)
    results = await plane.results("x", 2)
    cause.mended = True
    async with opened(plane) as rejects:
        kept = [headers(r)["dd-status"] for r in results].count(b"400")
        assert kept == len(await done(rejects.replay(Which())))
    again = (await plane.read(plane.topics.predict("x"), 2 + kept))[2:]
    assert [headers(r).get("dd-deadline") for r in again] == [None, late][-kept:]
