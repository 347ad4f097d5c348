"""A model's lane: its one thread, and the samples that pile up while a pass runs.

There is no batch window: the next pass takes what has piled up, so that a lone caller never
waits and a crowd is batched. A backend needs no locks, since only its lane calls it.

A pass that fails is halved until the bad sample stands alone. One that takes too long, or that
leaves its device unusable, ends the lane: what it holds and what still comes fails fatally.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeAlias

from ddstream.backends import Backend
from ddstream.data import Batch, Outputs
from ddstream.engine.limits import BatchLimits
from ddstream.engine.meters import Meters
from ddstream.engine.traces import trace_pass
from ddstream.engine.work import Item, too_late
from ddstream.errors import DDError, InternalError, fault
from ddstream.logs import service_log
from ddstream.telemetry.spans import spans

Finished: TypeAlias = Callable[[Sequence[Item], Outputs | DDError], None]
Group: TypeAlias = tuple[Hashable, Hashable]


class Lane:
    """Runs forward passes, groups in turn, each within `seconds`.

    `finished` gets every item once, on the lane's thread, or on the one that saw the lane's end.
    """

    def __init__(self, meters: Meters, max_batch: int, seconds: float, finished: Finished) -> None:
        self.lost = ""
        """Why it runs no more passes; empty while it does."""
        self._meters = meters
        self._limits = BatchLimits(meters, max_batch)
        self._seconds = seconds
        self._finished = finished
        self._groups: dict[Group, deque[Item]] = {}
        self._parts: list[list[Item]] = []
        """What is left of a batch that was taken apart; the last one is next."""
        self._running: Sequence[Item] = ()
        self._began = 0.0
        """When the running pass began; 0 between two passes."""
        self._changed = threading.Condition()
        self._closed = False
        self._ended = threading.Event()
        name = f"lane-{meters.service}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, items: Sequence[Item]) -> None:
        """Queue samples, from any thread."""
        with self._changed:
            lost = bool(self.lost)
            if not lost:
                for item in items:
                    self._groups.setdefault(_group(item), deque()).append(item)
                self._changed.notify_all()
        if lost:
            self._finished(items, self.failure())

    def close(self) -> None:
        """Run what is queued, then end the thread; a lane that is lost is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._ended.wait()

    def check(self) -> None:
        """Lose the lane if its pass takes longer than it may; from any thread, at any time."""
        with self._changed:
            if self._began and time.perf_counter() - self._began > self._seconds:
                self._lose(f"a forward pass took longer than forward_timeout ({self._seconds:g} s)")

    def release(self, backend: Backend) -> None:
        """Free a backend that nobody waits for any more, between two passes; blocks."""
        with self._changed:
            self._changed.wait_for(lambda: not self._began or self.lost)
            # Memory that a pass may still write to stays.
            if not self.lost:
                backend.close()

    def failure(self) -> DDError:
        """The answer to whatever a lost lane cannot do."""
        return InternalError(self.lost).graded("fatal")

    def _run(self) -> None:
        try:
            while items := self._take():
                self._pass(items)
        except Exception as error:
            service = self._meters.service
            service_log(service).exception("the lane of %s failed", service)
            self._lose(f"its lane failed: {error}")
        finally:
            self._ended.set()

    def _take(self) -> Sequence[Item]:
        """The items of the next pass, groups taking turns. Empty at the end."""
        with self._changed:
            while not (self._parts or self._groups or self._closed or self.lost):
                self._changed.wait()
            if not (self._parts or self._groups):
                return ()
            items = self._part() if self._parts else self._batch()
            self._running, self._began = items, time.perf_counter()
            return items

    def _part(self) -> list[Item]:
        items = self._parts.pop()
        limit = self._limits.of(_group(items[0]))
        if len(items) > limit:
            self._parts.append(items[limit:])
        return items[:limit]

    def _batch(self) -> list[Item]:
        # A dict keeps its order: the first group has waited longest for its turn.
        key, group = next(iter(self._groups.items()))
        items = [group.popleft() for _ in range(min(len(group), self._limits.of(key)))]
        del self._groups[key]
        if group:
            self._groups[key] = group
        self._meters.queue.observe(time.perf_counter() - items[0].since)
        return items

    def _pass(self, items: Sequence[Item]) -> None:
        unwanted = {item for item in items if item.work.error is not None or item.work.late}
        if unwanted:
            items = [item for item in items if item not in unwanted]
            self._finish(list(unwanted), too_late(), left=items)
        if not items:
            return
        plan = items[0].work.plan
        began = time.perf_counter()
        outputs: Outputs | DDError | None
        try:
            batch = Batch.of([item.sample for item in items])
            outputs = plan.backend.forward(batch, plan.parameters)
        except Exception as error:
            outputs = self._failed(items, error)
        self._meters.forward.observe(time.perf_counter() - began)
        self._meters.batch.observe(len(items))
        if spans.on:
            trace_pass(items, began)
        if outputs is None:
            self._halve(items)
        else:
            self._finish(items, outputs)

    def _failed(self, items: Sequence[Item], error: Exception) -> DDError | None:
        """The answer to a pass that failed; None if its halves are to be tried."""
        failure = items[0].work.plan.backend.failure(error)
        if failure == "broken":
            self._lose(f"a forward pass left its device unusable: {_line(error)}")
        if failure == "memory":
            self._limits.lower(_group(items[0]), len(items))
        if len(items) > 1 or self.lost:
            return None
        answer = fault(error, f"forward of {items[0].sample.uri[:200]}")
        return answer.graded("transient") if failure == "memory" else answer

    def _halve(self, items: Sequence[Item]) -> None:
        middle = len(items) // 2
        with self._changed:
            if not self.lost:
                self._parts += [list(items[middle:]), list(items[:middle])]
                self._pause()

    def _finish(
        self, items: Sequence[Item], outputs: Outputs | DDError, left: Sequence[Item] = ()
    ) -> None:
        with self._changed:
            if self.lost:
                return  # answered already
            if left:
                self._running = left
            else:
                self._pause()
        self._finished(items, outputs)

    def _pause(self) -> None:
        self._running, self._began = (), 0.0
        self._changed.notify_all()

    def _lose(self, reason: str) -> None:
        with self._changed:
            if self.lost:
                return
            self.lost = f"service {self._meters.service}: {reason}"
            held: list[Iterable[Item]] = [self._running, *self._parts, *self._groups.values()]
            items = [item for part in held for item in part]
            self._parts.clear()
            self._groups.clear()
            self._pause()
            self._ended.set()
        service_log(self._meters.service).critical("%s; %d samples fail", self.lost, len(items))
        if items:
            self._finished(items, self.failure())


def _group(item: Item) -> Group:
    return item.work.plan.group, item.sample.group


def _line(error: Exception) -> str:
    """The first line of an error: CUDA's go on with advice for developers."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
