"""One record of the rejects topic: what was refused and why, where it was, what to send again."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from ddstream.api.stream import RejectMark
from ddstream.errors import BadRequest
from ddstream.stream import messages
from ddstream.stream.messages import Headers, Outgoing
from ddstream.stream.topics import Topics

CODE, MESSAGE, ATTEMPTS = "dd-error-code", "dd-error-message", "dd-attempts"
TOPIC, PARTITION = "dd-original-topic", "dd-original-partition"
OFFSET, TIMESTAMP = "dd-original-offset", "dd-original-timestamp"
ENCODING, SIZE = "dd-value-encoding", "dd-original-size"
REASON = (CODE, MESSAGE, ATTEMPTS, TOPIC, PARTITION, OFFSET, TIMESTAMP, ENCODING, SIZE)
"""What a worker adds to the headers of a record that it rejects, each at most once, the code first;
the last two only where it had to compress the value."""
REPLAY_OF, REPLAYS = "dd-replay-of", "dd-replays"
"""What a replay adds: the reject (topic/partition/offset), and how often it was replayed."""


@dataclass(frozen=True, slots=True, order=True)
class RejectId:
    """Where a reject lies in its topic; a person writes it `partition/offset`."""

    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id that a person wrote. Raises ValueError."""
        partition, _, offset = text.partition("/")
        if not (partition.isascii() and partition.isdigit() and offset.isdigit()):
            raise ValueError(f"{text[:60]!r} is no id: partition/offset is wanted, such as 3/17")
        return cls(int(partition), int(offset))

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rejected record was, and when it was written there, in Unix milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Reject:
    """A reject without its value. `origin` is None where a record does not say where it was."""

    id: RejectId
    service: str
    code: str
    message: str
    attempts: int
    origin: Origin | None
    key: bytes | None
    headers: Headers
    """Those of the original record."""
    time: float
    """When it was rejected, in Unix seconds."""
    size: int
    """Bytes of its value."""
    mark: RejectMark | None = None
    """What became of it; None while it is open."""
    copies: tuple[RejectId, ...] = ()
    """The same record, rejected again because its worker died before it could commit."""

    @classmethod
    def of(cls, record: Any, topics: Topics) -> Reject:
        """The reject that a record of the topic is."""
        headers, reason = split(record.headers)
        origin = _origin(reason)
        return cls(
            id=RejectId(record.partition, record.offset),
            service=(topics.service_of(origin.topic) if origin else None) or "",
            code=reason.get(CODE, ""),
            message=reason.get(MESSAGE, ""),
            attempts=_integer(reason, ATTEMPTS, 1),
            origin=origin,
            key=record.key,
            headers=headers,
            time=record.timestamp / 1000,
            size=_integer(reason, SIZE, len(record.value or b"")),
        )

    def to_send(self, topic: str, now: float) -> list[tuple[str, bytes]]:
        """The headers of its replay out of the rejects topic `topic`: the original ones, with its
        lineage, without a deadline that has passed."""
        known = dict(self.headers)
        count = known.get(REPLAYS, b"0")
        number = int(count) + 1 if count.isdigit() else 1
        headers = [
            (name, value)
            for name, value in self.headers
            if name not in (REPLAY_OF, REPLAYS)
            and not (name == messages.DEADLINE and _passed(value, now))
        ]
        return [*headers, (REPLAY_OF, f"{topic}/{self.id}".encode()), (REPLAYS, b"%d" % number)]


@dataclass(frozen=True, slots=True)
class Which:
    """Which rejects are meant: those of the ids if there are any, and only where all else fits.

    `since` and `until` are Unix seconds; `limit` is the most that are taken.
    """

    ids: tuple[RejectId, ...] = ()
    service: str = ""
    code: str = ""
    since: float | None = None
    until: float | None = None
    limit: int | None = None
    resolved: bool = False
    """Those too of which something became already."""

    def fits(self, reject: Reject) -> bool:
        """Whether it is one of them, as far as it can tell by itself."""
        return (
            (not self.ids or any(i in self.ids for i in (reject.id, *reject.copies)))
            and (not self.service or reject.service == self.service.lower())
            and (not self.code or reject.code == self.code)
            and (self.since is None or reject.time >= self.since)
            and (self.until is None or reject.time < self.until)
            and (self.resolved or reject.mark is None)
        )


def split(headers: Headers) -> tuple[Headers, Mapping[str, str]]:
    """The original record's headers, and what the worker added.

    A client may use the same names: the worker's are the last ones.
    """
    last = {name: index for index, (name, _) in enumerate(headers) if name in REASON}
    if TOPIC not in last or CODE not in last:
        return tuple(headers), {}
    last = {name: index for name, index in last.items() if index >= last[CODE]}
    ours = frozenset(last.values())
    kept = tuple(header for index, header in enumerate(headers) if index not in ours)
    reason = {
        name: (headers[index][1] or b"").decode("utf-8", "replace") for name, index in last.items()
    }
    return kept, reason


def compressed(out: Outgoing) -> Outgoing:
    """A reject whose value is over the limit: it came compressed, and only so it can be kept."""
    size = b"%d" % len(out.value)
    added = ((ENCODING, b"gzip"), (SIZE, size))
    return Outgoing(out.key, gzip.compress(out.value, 6), [*out.headers, *added])


def value_of(record: Any) -> bytes | None:
    """The original value that a record of the rejects topic keeps. Raises BadRequest."""
    _, reason = split(record.headers)
    value: bytes | None = record.value
    if reason.get(ENCODING) != "gzip" or value is None:
        return value
    try:
        return gzip.decompress(value)
    except (OSError, EOFError, zlib.error) as error:
        raise BadRequest(f"the value of {record.offset} cannot be decompressed") from error


def united(rejects: Iterable[Reject]) -> list[Reject]:
    """Each record once, with its copies, and with the mark of any of them."""
    found: dict[object, Reject] = {}
    for reject in rejects:
        first = found.setdefault(reject.origin or reject.id, reject)
        if first is not reject:
            copies = (*first.copies, reject.id)
            found[reject.origin] = replace(first, copies=copies, mark=first.mark or reject.mark)
    return list(found.values())


def ordered(rejects: Sequence[Reject]) -> list[Reject]:
    """In the order of their origins within each partition, and nearly in that of their times."""
    latest: dict[tuple[str, int], float] = {}
    ranked = []
    for reject in sorted(rejects, key=_place):
        topic, partition, offset = _place(reject)
        latest[topic, partition] = max(reject.time, latest.get((topic, partition), 0.0))
        ranked.append((latest[topic, partition], topic, partition, offset, reject))
    return [each[-1] for each in sorted(ranked, key=lambda each: each[:-1])]


def _place(reject: Reject) -> tuple[str, int, int]:
    if reject.origin is None:
        return "", reject.id.partition, reject.id.offset
    return reject.origin.topic, reject.origin.partition, reject.origin.offset


def _origin(reason: Mapping[str, str]) -> Origin | None:
    numbers = [_integer(reason, name, -1) for name in (PARTITION, OFFSET, TIMESTAMP)]
    if TOPIC not in reason or min(numbers[:2]) < 0:
        return None
    return Origin(reason[TOPIC], *numbers)


def _integer(reason: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(reason[name])
    except (KeyError, ValueError):
        return default


def _passed(value: bytes, now: float) -> bool:
    try:
        return int(value) < now * 1000
    except ValueError:
        return False


def age(reject: Reject) -> float:
    """Seconds since it was rejected."""
    return max(0.0, time.time() - reject.time)
