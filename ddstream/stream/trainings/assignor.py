"""Who gets which partition of `train`: a worker that joins takes none whose trainings run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

Busy = Callable[[], Mapping[int, int]]
"""The partitions whose trainings run here, each with the highest epoch among them."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a member had, and what of it is at work (partition -> epoch)."""

    owned: Sequence[int] = ()
    busy: Mapping[int, int] = field(default_factory=dict)


class CalmAssignor:
    """An assignor of aiokafka for one consumer of one topic: it knows what that consumer does.

    The ones of aiokafka keep what they know on the class, for all consumers of a process.
    """

    name = "ddstream-calm"

    def __init__(self, busy: Busy) -> None:
        self._busy = busy
        self._owned: list[int] = []

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member tells when it joins."""
        busy = {str(partition): epoch for partition, epoch in self._busy().items()}
        told = orjson.dumps({"owned": self._owned, "busy": busy})
        return ConsumerProtocolMemberMetadata(0, list(topics), told)

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Note what this member was given."""
        self._owned = [tp.partition for tp in assignment.partitions()]

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Decide for the group; the member that leads it is asked."""
        (topic,) = {topic for member in members.values() for topic in member.subscription}
        partitions = sorted(cluster.partitions_for_topic(topic) or ())
        shares = shared(partitions, {name: _claims(m.user_data) for name, m in members.items()})
        return {
            name: ConsumerProtocolMemberAssignment(0, [(topic, sorted(share))], b"")
            for name, share in shares.items()
        }


def shared(partitions: Sequence[int], members: Mapping[str, Claims]) -> dict[str, list[int]]:
    """Busy partitions stay where they are, idle ones level the rest, moving as few as that takes.

    Where two say that they are busy with the same one, the later attempt is right.
    """
    shares: dict[str, list[int]] = {name: [] for name in sorted(members)}
    free = set(partitions)
    for partition in partitions:
        claims = [(m.busy[partition], name) for name, m in members.items() if partition in m.busy]
        if claims:
            shares[max(claims)[1]].append(partition)
            free.discard(partition)
    least = len(partitions) // len(members)
    for name, share in shares.items():
        idle = [partition for partition in members[name].owned if partition in free]
        kept = idle[: max(0, least - len(share))]
        share += kept
        free.difference_update(kept)
    had = {partition for member in members.values() for partition in member.owned}
    # What nobody had goes first to who has little: then the rest may stay where it was.
    for partition in sorted(free, key=lambda each: (each in had, each)):
        shares[_next(partition, shares, members)].append(partition)
    return shares


def _next(
    partition: int, shares: Mapping[str, Sequence[int]], members: Mapping[str, Claims]
) -> str:
    def rank(name: str) -> tuple[int, bool, str]:
        return (len(shares[name]), partition not in members[name].owned, name)

    return min(shares, key=rank)


def _claims(told: bytes | None) -> Claims:
    raw = orjson.loads(told) if told else {}
    busy = {int(partition): epoch for partition, epoch in raw.get("busy", {}).items()}
    return Claims(raw.get("owned", ()), busy)
