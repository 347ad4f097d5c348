"""One input partition: what was taken, what is answered, and how far it may be committed.

Answers leave in the order of the requests, whatever order they are finished in. An offset is
behind finished work when its answer was written, and so is every one before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ddstream.api.envelope import Answer
from ddstream.errors import DDError


class Slot:
    """The place of one record: empty until its answer comes. Calling it puts the answer there."""

    __slots__ = ("_partition", "answer", "nbytes", "record")

    def __init__(self, partition: Partition, record: Any) -> None:
        self._partition = partition
        self.record = record
        self.nbytes = len(record.value or b"")
        self.answer: Answer | DDError | None = None

    def __call__(self, answer: Answer | DDError) -> None:
        self.answer = answer
        self._partition.answered(self)


class Partition:
    """The slots of one assignment of a partition, in order.

    `ready` is called when answers can leave; whoever publishes takes them with `take`, and says
    `written` when the broker has them.
    """

    def __init__(self, number: int, ready: Callable[[Partition], None]) -> None:
        self.number = number
        self.paused = False
        self.publishing = False
        self.revoked = False
        self.nbytes = 0
        self.committable: int | None = None
        """The offset after the highest contiguous finished one; None before the first."""
        self.committed: int | None = None
        self._ready = ready
        self._slots: deque[Slot] = deque()

    def __len__(self) -> int:
        """Records that are taken and not yet written."""
        return len(self._slots)

    def open(self, record: Any) -> Slot:
        """Take a record."""
        slot = Slot(self, record)
        self._slots.append(slot)
        self.nbytes += slot.nbytes
        return slot

    def answered(self, slot: Slot) -> None:
        """A slot has its answer."""
        if self._slots and self._slots[0] is slot and not self.publishing:
            self._ready(self)

    def take(self, most: int) -> list[Slot]:
        """The answered slots at the front, at most `most`; they stay until `written`."""
        front: list[Slot] = []
        for slot in self._slots:
            if slot.answer is None or len(front) == most:
                break
            front.append(slot)
        return front

    def written(self, slots: list[Slot]) -> None:
        """The front slots' answers are on the broker."""
        for slot in slots:
            first = self._slots.popleft()
            assert first is slot
            self.nbytes -= slot.nbytes
        self.committable = slots[-1].record.offset + 1
