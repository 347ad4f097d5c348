"""`ddstream rejects` as a person runs it: child processes against a real broker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from ddstream.settings import Settings, child_environment
from ddstream.stream.local.broker import BrokerOptions, LocalBroker
from ddstream.stream.local.home import KafkaProgram
from ddstream.stream.local.properties import BrokerUser
from ddstream.stream.rejects.reject import Which
from ddstream.stream.rejects.rejects import PORTION, Rejects
from tests.kafka.commands import DDSTREAM, PATIENCE
from tests.kafka.plane import ECHO, Plane
from tests.kafka.rejecting import RAW, Mendable, rejected, until_rejected


@dataclass(frozen=True, slots=True)
class Said:
    """What a command ended with."""

    code: int
    out: str
    err: str

    def lines(self) -> list[Any]:
        """Its lines of JSON."""
        return [orjson.loads(line) for line in self.out.splitlines()]


@asynccontextmanager
async def started(settings: Settings, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`ddstream rejects ...`; killed at the end if it still runs."""
    given = settings.model_dump(include={*settings.model_fields_set} - {"roots"})
    environment = {f"DDSTREAM_{name.upper()}": str(value) for name, value in given.items()}
    process = await asyncio.create_subprocess_exec(
        str(DDSTREAM),
        "rejects",
        *arguments,
        env=child_environment(PYTHONUNBUFFERED="1", COLUMNS="200", **environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: asyncio.subprocess.Process, before: bytes = b"") -> Said:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, (before + out).decode(), err.decode())


async def run(settings: Settings, *arguments: str) -> Said:
    async with started(settings, *arguments) as process:
        return await said(process)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_rejects_are_listed_shown_replayed_and_dropped(plane: Plane, tmp_path: Path) -> None:
    cause = await rejected(plane, 2)
    await plane.send("x", b'{"data": [', {"mine": b"\xff"}, key=b"k", partition=0)
    await until_rejected(plane, 3)
    table = await run(plane.settings, "list")
    assert (table.code, "it is bad" in table.out) == (0, True)
    assert "5 B" in table.out
    rows = (await run(plane.settings, "list", "--json", "--service", "x", "--since", "1h")).lines()
    assert [row["code"] for row in rows].count("1005") == 2
    (broken,) = [row for row in rows if row["code"] == "400"]
    assert (broken["key"], broken["headers"]) == ("k", {"mine": "0xff"})

    page = await run(plane.settings, "show", broken["id"])
    assert '{"data": [' in page.out
    assert f"{plane.topics.predict('x')}/0/" in page.out
    file = tmp_path / "value"
    assert (await run(plane.settings, "show", broken["id"], "--output", str(file))).code == 0
    assert file.read_bytes() == b'{"data": ['

    dropped = await run(plane.settings, "drop", broken["id"], "--by", "me")
    assert (dropped.code, dropped.out) == (0, f"{broken['id']}  dropped\n")
    cause.mended = True
    replayed = await run(plane.settings, "replay", "--all", "--json", "--code", "1005")
    assert (replayed.code, [line["ok"] for line in replayed.lines()]) == (0, [True, True])
    assert replayed.err.endswith("2 done, 0 not\n")
    assert (await run(plane.settings, "list", "--json")).out == ""
    became = (await run(plane.settings, "list", "--json", "--resolved")).lines()
    assert {row["resolved"]["outcome"] for row in became} == {"replayed", "dropped"}
    again = await run(plane.settings, "replay", broken["id"])
    assert (again.code, "no such open reject" in again.out) == (1, True)
    purged = await run(plane.settings, "drop", "--purge")
    assert (purged.code, purged.out) == (0, "3 records deleted\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "1/2", "--all"),
        ("replay", "1/2", "--limit", "3"),
        ("show", "17"),
        ("list", "--since", "yesterday"),
        ("forget",),
    ],
    ids=" ".join,
)
async def test_wrong_words_end_with_2(arguments: tuple[str, ...]) -> None:
    assert (await run(Settings(bootstrap="127.0.0.1:1"), *arguments)).code == 2


async def test_an_unknown_reject_or_a_broker_that_is_away_ends_with_1(plane: Plane) -> None:
    unknown = await run(plane.settings, "show", "3/17")
    assert (unknown.code, unknown.err) == (1, "error: there is no reject 3/17\n")
    away = await run(Settings(bootstrap="127.0.0.1:1"), "list")
    assert away.code == 1
    assert "error: Kafka at 127.0.0.1:1 does not answer" in away.err
    assert "Traceback" not in away.err


async def many(plane: Plane, count: int) -> Mendable:
    cause = await rejected(plane, 0)
    futures = [
        await plane.producer.send(
            plane.topics.predict("x"), b"bad", partition=n % 3, headers=[*RAW.items()]
        )
        for n in range(count)
    ]
    await asyncio.gather(*futures)
    await until_rejected(plane, count)
    cause.mended = True
    return cause


@pytest.mark.timeout(300)
async def test_a_signal_ends_a_replay_between_two_portions(plane: Plane) -> None:
    count = 30 * PORTION
    await many(plane, count)
    async with started(plane.settings, "replay", "--all") as process:
        assert process.stdout is not None
        first = await process.stdout.readline()
        process.terminate()
        stopped = await said(process, first)
    named = len(stopped.out.splitlines())
    assert (stopped.code, named % PORTION) == (1, 0)
    assert 0 < named < count
    assert "stopped; what was not named here stays open" in stopped.err
    async with Rejects(plane.connection) as rejects:
        assert len(await rejects.list()) == count - named
    assert await plane.ends(plane.topics.predict("x")) == count + named


@pytest.mark.timeout(300)
async def test_a_killed_replay_loses_none_and_repeats_at_most_a_portion(plane: Plane) -> None:
    count = 10 * PORTION
    await many(plane, count)
    async with started(plane.settings, "replay", "--all") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with Rejects(plane.connection) as rejects:
        left = {r.origin for r in await rejects.list()}
        assert len(left) < count
        async for _ in rejects.replay(Which()):
            pass
        assert await rejects.list() == []
    topic = plane.topics.predict("x")
    records = await plane.read(topic, await plane.ends(topic))
    sources = [dict(r.headers).get("dd-replay-of") for r in records]
    replays = [source for source in sources if source is not None]
    assert len(set(replays)) == count
    print(f"killed with {len(left)} left; {len(replays) - count} of {count} were replayed twice")
    assert len(replays) - count <= PORTION


@pytest.mark.timeout(180)
async def test_rejects_are_worked_on_over_sasl(kafka_program: KafkaProgram, tmp_path: Path) -> None:
    options = BrokerOptions(heap="256m", users=(BrokerUser("alice", "secret"),))
    async with LocalBroker(kafka_program, tmp_path / "kafka", options=options) as broker:
        settings = Settings(
            bootstrap=broker.sasl_bootstrap,
            partitions=2,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="alice",
            sasl_password="secret",
        )
        async with Plane(settings) as plane:
            cause = Mendable()
            await plane.worker(cause.host)
            await (await plane.bridge()).create_service("x", ECHO)
            await plane.send("x", b"bad", RAW, partition=1)
            await until_rejected(plane, 1)
            cause.mended = True
            replayed = await run(settings, "replay", "--all")
            assert (replayed.code, replayed.err[-15:]) == (0, "1 done, 0 not\n"[-15:])
            assert await plane.ends(plane.topics.predict("x")) == 2
