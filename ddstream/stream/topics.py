"""Names, groups and configurations of the topics: the one place that knows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ddstream.errors import ParameterError
from ddstream.settings import Settings

MAX_NAME = 249
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?")


def escape(service: str) -> str:
    """A service's name in a topic's name: each byte outside `[a-z0-9-]` becomes `_hh`."""
    return "".join(
        chr(byte) if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789-" else f"_{byte:02x}"
        for byte in service.encode()
    )


def unescape(text: str) -> str:
    """The service's name that `escape` made this of."""
    parts = re.split("_([0-9a-f]{2})", text)
    raw = (bytes.fromhex(p) if odd % 2 else p.encode() for odd, p in enumerate(parts))
    return b"".join(raw).decode(errors="replace")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as `topics.yaml` has it, before a service or a bridge gives it its name."""

    kind: str
    name: str
    title: str
    scope: str
    key: str | None
    value: str | None
    partitions: int
    config: Mapping[str, str]
    headroom: int
    written_by: tuple[str, ...]
    read_by: Mapping[str, str]
    raw: bool


@cache
def specs() -> Mapping[str, TopicSpec]:
    """The topics of `topics.yaml` by kind: control, services, predict, ..."""
    document = yaml.safe_load(_file().read_text(encoding="utf-8"))
    return {kind: _spec(kind, raw) for kind, raw in document["topics"].items()}


def _file() -> Path:
    # In a wheel the file lies beside this module, in a checkout at the top.
    packaged = Path(__file__).with_name("topics.yaml")
    return packaged if packaged.exists() else Path(__file__).parents[2] / "topics" / "topics.yaml"


def _spec(kind: str, raw: Mapping[str, Any]) -> TopicSpec:
    config = {name: str(value) for name, value in (raw.get("config") or {}).items()}
    config["cleanup.policy"] = raw["cleanup"]
    config["retention.ms"] = str(_milliseconds(raw["retention"]))
    return TopicSpec(
        kind=kind,
        name=raw["name"],
        title=raw["title"],
        scope=raw["scope"],
        key=raw["key"],
        value=raw["value"],
        partitions=raw["partitions"],
        config=config,
        headroom=raw.get("headroom", 0),
        written_by=tuple(raw["written_by"]),
        read_by=raw["read_by"],
        raw=raw.get("raw", False),
    )


def _milliseconds(duration: str | None) -> int:
    if duration is None:
        return -1
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"{duration!r} is no duration")
    days, hours, minutes = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60_000


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic that should exist: its name, partitions and configuration."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


class Topics:
    """The names of one prefix."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.prefix = settings.prefix
        self.control = self._name("control")
        self.services = self._name("services")
        self.workers = self._name("workers")
        self.train = self._name("train")
        self.jobs = self._name("jobs")
        self.rejects = self._name("rejects")
        self.rejects_state = self._name("rejects_state")

    @property
    def record_bytes(self) -> int:
        """Most bytes of a record of these topics."""
        return self._settings.max_request_bytes + RECORD_OVERHEAD

    def predict(self, service: str) -> str:
        """The topic of a service's requests, and its group. Raises ParameterError if too long."""
        return self._name("predict", service=escape(service))

    def results(self, service: str) -> str:
        """The topic of a service's answers. Raises ParameterError if too long."""
        return self._name("results", service=escape(service))

    def service_of(self, topic: str) -> str | None:
        """The service whose requests a topic has; None if it is no such topic."""
        first = self._name("predict", service="")
        return unescape(topic.removeprefix(first)) if topic.startswith(first) else None

    def replies(self, bridge: str) -> str:
        """The topic of a bridge's answers."""
        return self._name("replies", bridge=bridge)

    def may_answer(self, topic: str) -> bool:
        """Whether a request or a sink may name this topic; nobody writes into our own tables."""
        replies = self._name("replies", bridge="")
        return topic.startswith(replies) or topic in self._settings.reply_topics

    def fixed(self) -> list[NewTopic]:
        """The topics of the cluster."""
        return [
            self._new(kind, self._name(kind))
            for kind, spec in specs().items()
            if spec.scope == "cluster"
        ]

    def of_service(self, service: str) -> list[NewTopic]:
        """The two topics of a service, with equal numbers of partitions."""
        return [
            self._new("predict", self.predict(service), self._settings.partitions),
            self._new("results", self.results(service), self._settings.partitions),
        ]

    def of_bridge(self, bridge: str) -> NewTopic:
        """The reply topic of a bridge."""
        return self._new("replies", self.replies(bridge))

    def _name(self, kind: str, **parts: str) -> str:
        name = specs()[kind].name.format(prefix=self._settings.prefix, **parts)
        if len(name) > MAX_NAME:
            raise ParameterError(f"the topic name {name[:40]}... has over {MAX_NAME} characters")
        return name

    def _new(self, kind: str, name: str, partitions: int | None = None) -> NewTopic:
        spec = specs()[kind]
        limit = self.record_bytes + spec.headroom
        return NewTopic(
            name=name,
            partitions=partitions or spec.partitions,
            replication=self._settings.replication,
            config={**spec.config, "max.message.bytes": str(limit)},
        )


RECORD_OVERHEAD = 4096
"""Bytes of a record beside its value: batch header, key, headers."""
