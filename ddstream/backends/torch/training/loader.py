"""Batches of a dataset in a fixed order, read ahead of the training by threads."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from typing import NamedTuple

import numpy as np
import torch

from ddstream.backends.torch.objectives import Objective, Tensors
from ddstream.data import Array, Batch, Dataset, Normalise, Sample, Stack, Stacked
from ddstream.errors import InputError

log = logging.getLogger(__name__)

_DIFFER = {"image": "set width and height: images", "series": "set timesteps: series"}
"""What the words about samples of several sizes begin with."""
AHEAD = 2
"""Batches that are ready or being read, beyond one a thread."""
DOZEN = 12
"""Batches that a thread takes at a time where reading them is quicker than waking it."""


class LeftOut:
    """Samples that could not be read, by their sets, each told once; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, dict[int, str]] = {}

    def add(self, name: str, index: int, error: InputError) -> None:
        """Log the sample of a set, unless it was met before."""
        with self._lock:
            found = self._found.setdefault(name, {})
            new = index not in found
            # The first reason is told in the report, the others are in the log.
            found.setdefault(index, "" if found else str(error))
        if new:
            log.warning("%s: a sample was left out: %s", name, error)

    def reason(self, name: str) -> str:
        """Why the first one of a set was left out."""
        with self._lock:
            return next(iter(self._found.get(name, {}).values()), "")

    def warnings(self) -> list[str]:
        """A line for each set: how many, and why the first one."""
        with self._lock:
            return [
                f"{name}: {len(found)} samples were left out, the first: {first}"
                for name, found in self._found.items()
                for first in [*found.values()][:1]
            ]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a dataset is read. The order and how samples vary depend on `seed` alone."""

    size: int
    threads: int = 1
    shuffle: bool = False
    seed: int = 0
    training: bool = False
    """Samples are varied, and no batch has a lone sample."""
    pinned: bool = False
    """Batches lie in memory that a GPU can fetch from."""
    left_out: LeftOut = field(default_factory=LeftOut, compare=False)
    """Samples that could not be read."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch: its number, its samples, and what the model is given and should give."""

    number: int
    samples: Sequence[Sample]
    inputs: Tensors
    targets: Tensors

    @property
    def normalise(self) -> Normalise:
        """What is done to its pixels."""
        return self.samples[0].normalise

    def __len__(self) -> int:
        return len(self.samples)


class Job(NamedTuple):
    """A batch that is to be read: its number, and the indices of its samples."""

    number: int
    indices: Array


class Loader:
    """An endless row of batches, epoch after epoch; batch number n is always the same one."""

    def __init__(self, dataset: Dataset, reading: Reading, objective: Objective) -> None:
        self._dataset = dataset
        self._stacks = dataset if isinstance(dataset, Stacked) else None
        self._reading = reading
        self._objective = objective
        self._bounds = _bounds(len(dataset), reading)

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch."""
        return len(self._bounds)

    def batches(self, first: int = 0, last: int | None = None) -> Generator[Loaded, None, None]:
        """Batches from number `first` up to, not with, `last`; close it to end its threads.

        A sample that cannot be read is left out and noted. Raises InputError where a batch's
        samples do not fit together, or no sample of an epoch can be read.
        """
        pool = ThreadPoolExecutor(self._reading.threads, thread_name_prefix="loader")
        try:
            yield from self._in_order(pool, self._jobs(first, last))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _in_order(self, pool: ThreadPoolExecutor, jobs: Iterator[Job]) -> Iterator[Loaded]:
        pending: deque[Future[list[Loaded | None]]] = deque()
        missed = 0
        for _ in range(self._reading.threads + AHEAD):
            self._submit(pool, jobs, pending)
        while pending:
            found = pending.popleft().result()
            self._submit(pool, jobs, pending)
            for loaded in found:
                missed = missed + 1 if loaded is None else 0
                if missed >= self.per_epoch:
                    name = self._dataset.name
                    reason = self._reading.left_out.reason(name)
                    raise InputError(f"no sample of {name} can be read: {reason}")
                if loaded is not None:
                    yield loaded

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        jobs: Iterator[Job],
        pending: deque[Future[list[Loaded | None]]],
    ) -> None:
        if taken := list(islice(jobs, 1 if self._stacks is None else DOZEN)):
            pending.append(pool.submit(lambda: [self._read(job) for job in taken]))

    def _jobs(self, first: int, last: int | None) -> Iterator[Job]:
        order, ordered = np.arange(0), -1
        for number in count(first) if last is None else range(first, last):
            epoch, place = divmod(number, self.per_epoch)
            if epoch != ordered:
                order, ordered = self._order(epoch), epoch
            start, end = self._bounds[place]
            yield Job(number, order[start:end])

    def _order(self, epoch: int) -> Array:
        if not self._reading.shuffle:
            return np.arange(len(self._dataset))
        generator = np.random.default_rng((self._reading.seed, epoch))
        return generator.permutation(len(self._dataset))

    def _read(self, job: Job) -> Loaded | None:
        samples = self._samples(job) if self._stacks is None else self._stacks.batch(job.indices)
        if not samples:
            return None
        inputs, targets = stacked(samples), self._objective.targets(samples)
        if self._reading.pinned:
            inputs, targets = _pinned(inputs), _pinned(targets)
        return Loaded(job.number, samples, inputs, targets)

    def _samples(self, job: Job) -> Sequence[Sample]:
        # A generator a batch, read by one thread: nothing depends on which thread comes first.
        seed = (self._reading.seed, job.number)
        generator = np.random.default_rng(seed) if self._reading.training else None
        indices = job.indices.tolist()
        read = [(index, self._sample(index, generator)) for index in indices]
        found = [(index, sample) for index, sample in read if sample is not None]
        if self._reading.training and len(found) == 1 < len(indices):
            # Batch norm cannot be trained on the one that is left: it comes twice.
            again = self._sample(found[0][0], generator)
            found += [(found[0][0], again)] if again is not None else []
        return [sample for _, sample in found]

    def _sample(self, index: int, generator: np.random.Generator | None) -> Sample | None:
        try:
            return self._dataset.read(index, generator)
        except InputError as error:
            self._reading.left_out.add(self._dataset.name, index, error)
            return None


def _bounds(length: int, reading: Reading) -> list[tuple[int, int]]:
    starts = list(range(0, length, reading.size))
    # Batch norm cannot be trained on one sample: a lone last one joins the batch before it.
    if reading.training and len(starts) > 1 and length - starts[-1] == 1 and reading.size > 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], length], strict=True))


def stacked(samples: Sequence[Sample]) -> Tensors:
    """The inputs of samples, each with a batch axis. Raises InputError if sizes differ."""
    if isinstance(samples, Stack):
        return {name: torch.from_numpy(each) for name, each in samples.inputs.items()}
    for name in samples[0].inputs:
        shapes = {sample.inputs[name].shape for sample in samples}
        if len(shapes) > 1:
            listed = ", ".join(map(str, sorted(shapes)[:3]))
            raise InputError(f"{_DIFFER.get(name, name)} of one batch differ in size ({listed})")
    return {name: torch.from_numpy(each) for name, each in Batch.of(samples).inputs.items()}


def _pinned(tensors: Tensors) -> Tensors:
    return {name: each.pin_memory() for name, each in tensors.items()}
