"""One input partition: what was taken, what is answered, and how far it may be committed.

Answers leave in the order of the requests, whatever order they are finished in. An offset is
behind finished work when its answer was written, and so is every one before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from ddstream.api.envelope import Answer
from ddstream.api.predict import Call
from ddstream.errors import DDError
from ddstream.telemetry.spans import Span


class Slot:
    """The place of one record: empty until its answer comes. Calling it puts the answer there."""

    __slots__ = ("_partition", "answer", "attempts", "call", "finished", "nbytes", "record", "span")

    def __init__(self, partition: Partition, record: Any) -> None:
        self._partition = partition
        self.record = record
        self.nbytes = len(record.value or b"")
        self.answer: Answer | DDError | None = None
        self.call: Call | None = None
        """What was submitted for it, to be submitted again after a transient failure."""
        self.attempts = 1
        self.span: Span | None = None
        """The span of what becomes of it, where spans are taken."""
        self.finished: asyncio.Event | None = None
        """Set with the answer, if somebody waits for it."""

    def __call__(self, answer: Answer | DDError) -> None:
        if isinstance(answer, DDError) and answer.severity != "permanent":
            self._partition.troubled(self, answer)
        else:
            self.settle(answer)

    def settle(self, answer: Answer | DDError) -> None:
        """This is the answer, whether or not another try might have another one."""
        self.answer = answer
        if self.finished is not None:
            self.finished.set()
        self._partition.answered(self)


class Partition:
    """The slots of one assignment of a partition, in order.

    `ready` is called when answers can leave; whoever publishes takes them with `take`, and says
    `written` when the broker has them. `troubled` gets errors that another try might mend.
    """

    def __init__(
        self,
        number: int,
        start: int,
        ready: Callable[[Partition], None],
        troubled: Callable[[Slot, DDError], None],
    ) -> None:
        self.number = number
        self.position = start
        """The next offset to be taken."""
        self.committable = start
        """The offset after the highest contiguous finished one."""
        self.committed = start
        self.paused_since: float | None = None
        self.publishing: asyncio.Task[None] | None = None
        self.revoked = False
        self.attempts = 0
        """Workers that took the first records before, and died."""
        self.alone_until = start
        """Records before this offset are run one by one."""
        self.culprit: int | None = None
        """The offset of the record that ran alone when its worker died."""
        self.solo: deque[tuple[Slot, str | None, int | None]] = deque()
        """Those that wait to be run alone, each with its reply topic and model version."""
        self.soloing = False
        self.troubled = troubled
        self.nbytes = 0
        self._ready = ready
        self._slots: deque[Slot] = deque()

    def __len__(self) -> int:
        """Records that are taken and not yet written."""
        return len(self._slots)

    @property
    def oldest(self) -> Slot | None:
        """The first slot that is not yet written."""
        return self._slots[0] if self._slots else None

    def open(self, record: Any) -> Slot:
        """Take a record."""
        slot = Slot(self, record)
        self._slots.append(slot)
        self.position = record.offset + 1
        self.nbytes += slot.nbytes
        return slot

    def answered(self, slot: Slot) -> None:
        """A slot has its answer."""
        if self._slots and self._slots[0] is slot and self.publishing is None:
            self._ready(self)

    def take(self, most: int) -> list[Slot]:
        """The answered slots at the front, at most `most`; they stay until `written`."""
        front: list[Slot] = []
        for slot in islice(self._slots, most):
            if slot.answer is None:
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

    def written_before(self, offset: int) -> list[Slot]:
        """All below `offset` turns out to be answered and committed; the slots of these."""
        done = [slot for slot in self._slots if slot.record.offset < offset]
        if done:
            self.written(done)
            self.committed = self.committable
        return done

    def give_up_solo(self) -> None:
        """Leave what waits to be run alone, and all behind it, to the next owner."""
        if not self.solo:
            return
        first = self.solo[0][0]
        while self._slots:
            slot = self._slots.pop()
            self.nbytes -= slot.nbytes
            if slot is first:
                break
        self.solo.clear()
