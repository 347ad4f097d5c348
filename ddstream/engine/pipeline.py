"""The pipeline of a process: data wait, are read on CPU threads, pass a lane, become predictions.

The loop decides, threads compute: samples go from a reading thread straight to their lane, and a
finished batch comes back to the loop with one wake-up.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice

from ddstream.data import Outputs
from ddstream.engine.lane import Lane
from ddstream.engine.work import Item, Work, too_late
from ddstream.errors import DDError, fault
from ddstream.telemetry.spans import spans

CHUNK = 8
"""Most samples that one reading job takes: enough to amortise its hop, few enough to pipeline."""
AHEAD = 64
"""Most samples of one call between reading and prediction."""
LARGE = 16 << 20
"""Bytes of samples after which a reading job ends, so that large images stay bounded."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A work that waits to be read, and where its samples go."""

    work: Work
    lane: Lane


class Pipeline:
    """Reads data and interprets outputs on bounded threads.

    `answered` is called on the loop, once for each work that is complete. While samples of
    `max_bytes` wait for their model, no more are read.
    """

    def __init__(self, threads: int, max_bytes: int, answered: Callable[[Work], None]) -> None:
        self._answered = answered
        self._max_bytes = max_bytes
        self.held = 0
        """Bytes of samples between reading and prediction."""
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="read")
        # Not the readers: a finished batch must not queue behind images that are being decoded.
        self._interpreter = ThreadPoolExecutor(1, thread_name_prefix="interpret")
        self._threads = threads
        self._reading = 0
        self._waiting: deque[Errand] = deque()
        self._parked: dict[Work, Errand] = {}

    def close(self) -> None:
        """End the threads, after what they have begun."""
        self._readers.shutdown(wait=True)
        self._interpreter.shutdown(wait=True)

    def add(self, errands: Sequence[Errand]) -> None:
        """Read the data of calls; on the loop."""
        self._waiting.extend(errands)
        self._pump()

    def interpret(self, items: Sequence[Item], outputs: Outputs | DDError) -> None:
        """Turn a finished batch into predictions; what a lane calls on its thread."""
        self._interpreter.submit(self._interpret, items, outputs)

    def _pump(self) -> None:
        while self._waiting and self._reading < self._threads and self.held < self._max_bytes:
            free = self._threads - self._reading
            share = min(CHUNK, -(-len(self._waiting) // free))
            chunk = [self._waiting.popleft() for _ in range(share)]
            self._reading += 1
            self._readers.submit(self._read, chunk)

    def _read(self, chunk: Sequence[Errand]) -> None:
        done = held = 0
        try:
            for meters, errands in groupby(chunk, key=lambda errand: errand.work.meters):
                began = time.perf_counter()
                for errand in errands:
                    if held >= LARGE:
                        break
                    done += 1
                    items, nbytes = _take(errand.work)
                    held += nbytes
                    if items:
                        errand.lane.add(items)
                meters.decode.observe(time.perf_counter() - began)
        finally:
            self._loop.call_soon_threadsafe(self._read_done, chunk, done, held)

    def _read_done(self, chunk: Sequence[Errand], done: int, held: int) -> None:
        self._reading -= 1
        self.held += held
        self._waiting.extendleft(reversed(chunk[done:]))
        for errand in chunk[:done]:
            work = errand.work
            if work.exhausted or work.error is not None:
                self._settle(work)
            elif work.read - work.predicted < AHEAD:
                self._waiting.append(errand)
            else:
                self._parked[work] = errand
        self._pump()

    def _interpret(self, items: Sequence[Item], outputs: Outputs | DDError) -> None:
        began = time.perf_counter()
        try:
            if isinstance(outputs, DDError):
                for item in items:
                    item.work.error = item.work.error or outputs
            else:
                _decode(items, outputs)
        finally:
            items[0].work.meters.interpret.observe(time.perf_counter() - began)
            self._loop.call_soon_threadsafe(self._interpreted, items)

    def _interpreted(self, items: Sequence[Item]) -> None:
        for item in items:
            work = item.work
            work.predicted += 1
            self.held -= item.nbytes
            self._settle(work)
            if self._parked and work in self._parked and work.read - work.predicted < AHEAD:
                self._waiting.append(self._parked.pop(work))
        self._pump()

    def _settle(self, work: Work) -> None:
        if work.complete and not work.answered:
            work.answered = True
            self._parked.pop(work, None)
            self._answered(work)


def _take(work: Work) -> tuple[list[Item], int]:
    """Read up to CHUNK samples of a work, fewer if they are large; on its reading thread.

    Also gives the bytes that they hold."""
    if work.late:
        work.error = too_late()
        return [], 0
    started = time.perf_counter()
    samples, sizes, held = [], [], 0
    try:
        for sample in islice(work.samples(), CHUNK):
            nbytes = sample.nbytes
            samples.append(sample)
            sizes.append(nbytes)
            held += nbytes
            if held >= LARGE:
                break
    except Exception as error:
        work.error = fault(error, "reading data")
        return [], 0
    first = work.read
    work.predictions.extend([None] * len(samples))
    now = time.perf_counter()
    work.decoded += now - started
    spans.record("decode", work.call.headers, started, now)
    work.read += len(samples)
    # One datum, one sample is the rule: then the end is known without another job.
    work.exhausted = len(samples) < CHUNK and held < LARGE
    items = [Item(work, first + i, each, now, sizes[i]) for i, each in enumerate(samples)]
    return items, held


def _decode(items: Sequence[Item], outputs: Outputs) -> None:
    """Predictions of a batch: activation for all rows at once, then row by row."""
    task = items[0].work.plan.task
    try:
        scores = task.activate(outputs)
    except Exception as error:
        failure = fault(error, "activation")
        for item in items:
            item.work.error = failure
        return
    for row, item in zip(scores, items, strict=True):
        work = item.work
        try:
            if work.tally is not None:
                work.tally.add([row], [item.sample])
                continue
            work.predictions[item.index] = work.plan.task.decode(row, item.sample, work.plan.output)
        except Exception as error:
            work.error = fault(error, f"decoding {item.sample.uri[:200]}")
