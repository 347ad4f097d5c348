"""What was asked and what came back: read from the topics themselves, and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from ddstream.stream.connection import Connection, started, stopped
from tests.chaos.model import number_of

Figures = dict[str, float | int | str]


class Violated(AssertionError):
    """A promise was broken; the figures were measured nevertheless."""

    def __init__(self, problems: Sequence[str], figures: Figures) -> None:
        super().__init__("; ".join([*problems, str(figures)]))
        self.problems = problems
        self.figures = figures


@dataclass(frozen=True, slots=True)
class Request:
    """A record of the requests topic."""

    offset: int
    number: int
    key: bytes
    time: int
    """When it was sent, in Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Result:
    """A record of the results topic; `offset` is its request's."""

    offset: int
    number: int
    key: bytes
    time: int
    status: int
    right: bool
    """It is an answer of 200 that holds its own record's id."""


@dataclass(slots=True)
class Verdict:
    """What a comparison of requests and results found."""

    problems: list[str] = field(default_factory=list)
    repeats: int = 0
    """Answers that were given before."""
    rewinds: int = 0
    """How often a partition's answers began again at an earlier record."""
    longest: int = 0
    """The longest such step back, in records."""

    def figures(self) -> Figures:
        """The counts."""
        return {
            "repeats": self.repeats,
            "rewinds": self.rewinds,
            "longest rewind": self.longest,
        }


async def read(connection: Connection, topic: str) -> dict[int, list[Any]]:
    """All committed records of a topic by partition, in their order."""
    consumer: AIOKafkaConsumer = connection.consumer(
        [topic], isolation_level="read_committed", fetch_max_wait_ms=200
    )
    await started(consumer)
    try:
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=100)
        ends = await consumer.end_offsets(consumer.assignment())
        records: dict[int, list[Any]] = {tp.partition: [] for tp in ends}
        while not await _read_to(consumer, ends):
            for tp, polled in (await consumer.getmany(timeout_ms=200)).items():
                records[tp.partition] += polled
        return records
    finally:
        await stopped(consumer)


async def _read_to(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    return all([await consumer.position(tp) >= end for tp, end in ends.items()])


async def requests(connection: Connection, topic: str) -> dict[int, list[Request]]:
    """What was asked."""
    found = await read(connection, topic)
    return {
        partition: [Request(r.offset, number_of(r.value), r.key, r.timestamp) for r in records]
        for partition, records in found.items()
    }


async def results(connection: Connection, topic: str) -> dict[int, list[Result]]:
    """What was answered, as a reader of committed records sees it."""
    found = await read(connection, topic)
    return {
        partition: [_result(record) for record in records] for partition, records in found.items()
    }


def _result(record: Any) -> Result:
    headers = dict(record.headers)
    status = int(headers["dd-status"])
    number = int(headers["correlation_id"])
    return Result(
        offset=int(headers["dd-source"].rpartition(b"/")[2]),
        number=number,
        key=record.key,
        time=record.timestamp,
        status=status,
        right=status == 200 and _value(record.value) == number,
    )


def _value(content: bytes) -> int:
    return int(orjson.loads(content)["body"]["predictions"][0]["vals"][0])


def judge(
    asked: Mapping[int, Sequence[Request]],
    answered: Mapping[int, Sequence[Result]],
    *,
    exactly_once: bool,
) -> Verdict:
    """Whether each request was answered in its partition, in order, and how often."""
    verdict = Verdict()
    for partition, wanted in asked.items():
        found = answered.get(partition, ())
        first = _first_answers(found, verdict)
        expected = [(request.offset, request.number, request.key) for request in wanted]
        got = [(result.offset, result.number, result.key) for result in first]
        if got != expected:
            verdict.problems.append(f"partition {partition}: {_difference(expected, got)}")
    if exactly_once and verdict.repeats:
        verdict.problems.append(f"{verdict.repeats} answers are there twice")
    return verdict


def _first_answers(found: Sequence[Result], verdict: Verdict) -> list[Result]:
    """The answers without repeats, in the order in which they were first given."""
    seen: set[int] = set()
    first: list[Result] = []
    last = -1
    for result in found:
        if result.offset <= last:
            verdict.rewinds += 1
            verdict.longest = max(verdict.longest, last + 1 - result.offset)
        last = result.offset
        if result.offset in seen:
            verdict.repeats += 1
        else:
            seen.add(result.offset)
            first.append(result)
    return first


def _difference(expected: Sequence[Any], got: Sequence[Any]) -> str:
    missing = set(expected) - set(got)
    alien = set(got) - set(expected)
    if missing or alien:
        return (
            f"{len(missing)} unanswered ({sorted(missing)[:5]}), "
            f"{len(alien)} answers without a request ({sorted(alien)[:5]})"
        )
    place = next(i for i, pair in enumerate(zip(expected, got, strict=True)) if pair[0] != pair[1])
    return f"order broken at {expected[place]}: {got[place]} was answered there"


def latency(
    asked: Mapping[int, Sequence[Request]],
    answered: Mapping[int, Sequence[Result]],
    numbers: range,
) -> float:
    """The median of the seconds between sending and answering, of the records of some ids."""
    sent = {r.number: r.time for records in asked.values() for r in records if r.number in numbers}
    took = sorted(
        (result.time - sent[result.number]) / 1e3
        for found in answered.values()
        for result in found
        if result.number in numbers
    )
    return took[len(took) // 2] if took else float("inf")
