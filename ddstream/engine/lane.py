"""A model's lane: its one thread, and the samples that pile up while a pass runs.

There is no batch window: the next pass takes what has piled up, so that a lone caller never
waits and a crowd is batched. A backend needs no locks, since only its lane calls it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence

from ddstream.data import Batch, Outputs
from ddstream.engine.work import Item, too_late
from ddstream.errors import DDError, fault

Finished = Callable[[Sequence[Item], Outputs | DDError], None]


class Lane:
    """Runs forward passes, groups in turn. `finished` is called on the lane's thread."""

    def __init__(self, name: str, max_batch: int, finished: Finished) -> None:
        self._finished = finished
        self._max_batch = max_batch
        self._groups: dict[Hashable, deque[Item]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"lane-{name}", daemon=True)
        self._thread.start()

    def add(self, items: Sequence[Item]) -> None:
        """Queue samples, from any thread."""
        with self._changed:
            for item in items:
                key = (item.work.plan.group, item.sample.group)
                self._groups.setdefault(key, deque()).append(item)
            self._changed.notify()

    def close(self) -> None:
        """Run what is queued, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while items := self._take():
            self._pass(items)

    def _take(self) -> list[Item]:
        """The next batch's items, groups taking turns. Empty at the end."""
        with self._changed:
            while not self._groups:
                if self._closed:
                    return []
                self._changed.wait()
            # A dict keeps its order: the first group has waited longest for its turn.
            key, group = next(iter(self._groups.items()))
            items = [group.popleft() for _ in range(min(len(group), self._max_batch))]
            del self._groups[key]
            if group:
                self._groups[key] = group
            return items

    def _pass(self, items: Sequence[Item]) -> None:
        late = [item for item in items if item.work.late]
        if late:
            self._finished(late, too_late())
        items = [item for item in items if not item.work.late and item.work.error is None]
        if not items:
            return
        plan = items[0].work.plan
        try:
            batch = Batch.of([item.sample for item in items])
            outputs = plan.backend.forward(batch, plan.parameters)
        except Exception as error:
            # One bad sample must not fail its neighbours: halve until it stands alone.
            if len(items) > 1:
                middle = len(items) // 2
                self._pass(items[:middle])
                self._pass(items[middle:])
            else:
                self._finished(items, fault(error, f"forward of {items[0].sample.uri[:200]}"))
            return
        self._finished(items, outputs)
