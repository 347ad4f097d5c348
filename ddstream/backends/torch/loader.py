"""Batches of a dataset in a fixed order, read ahead of the training by threads."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import numpy as np
import torch

from ddstream.data import Array, Batch, Dataset, Normalise, Sample
from ddstream.errors import InputError

log = logging.getLogger(__name__)

AHEAD = 2
"""Batches that are ready or being read, beyond one a thread."""


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch: its number, pixels N x H x W x C, their normalisation, each sample's target."""

    number: int
    images: torch.Tensor
    normalise: Normalise
    targets: Array

    def __len__(self) -> int:
        return len(self.images)


class Job(NamedTuple):
    """A batch that is to be read: its number, and the indices of its samples."""

    number: int
    indices: Sequence[int]


class Loader:
    """An endless row of batches, epoch after epoch; batch number n is always the same one."""

    def __init__(self, dataset: Dataset, reading: Reading) -> None:
        self._dataset = dataset
        self._reading = reading
        self._bounds = _bounds(len(dataset), reading)

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch."""
        return len(self._bounds)

    def batches(self, first: int = 0, last: int | None = None) -> Generator[Loaded, None, None]:
        """Batches from number `first` up to, not with, `last`; close it to end its threads.

        A sample that cannot be read is left out and logged. Raises InputError where a batch's
        samples do not fit together, or no sample of an epoch can be read.
        """
        pool = ThreadPoolExecutor(self._reading.threads, thread_name_prefix="loader")
        try:
            yield from self._in_order(pool, self._jobs(first, last))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _in_order(self, pool: ThreadPoolExecutor, jobs: Iterator[Job]) -> Iterator[Loaded]:
        pending: deque[Future[Loaded | None]] = deque()
        missed = 0
        for job in islice(jobs, self._reading.threads + AHEAD):
            pending.append(pool.submit(self._read, job))
        while pending:
            loaded = pending.popleft().result()
            for job in islice(jobs, 1):
                pending.append(pool.submit(self._read, job))
            missed = missed + 1 if loaded is None else 0
            if missed >= self.per_epoch:
                raise InputError(f"no sample of {self._dataset.name} can be read")
            if loaded is not None:
                yield loaded

    def _jobs(self, first: int, last: int | None) -> Iterator[Job]:
        order, ordered = np.arange(0), -1
        for number in count(first) if last is None else range(first, last):
            epoch, place = divmod(number, self.per_epoch)
            if epoch != ordered:
                order, ordered = self._order(epoch), epoch
            start, end = self._bounds[place]
            yield Job(number, order[start:end].tolist())

    def _order(self, epoch: int) -> Array:
        if not self._reading.shuffle:
            return np.arange(len(self._dataset))
        generator = np.random.default_rng((self._reading.seed, epoch))
        return generator.permutation(len(self._dataset))

    def _read(self, job: Job) -> Loaded | None:
        # A generator a batch, read by one thread: nothing depends on which thread comes first.
        seed = (self._reading.seed, job.number)
        generator = np.random.default_rng(seed) if self._reading.training else None
        read = (self._sample(index, generator) for index in job.indices)
        samples = [sample for sample in read if sample is not None]
        return stacked(job.number, samples, pinned=self._reading.pinned) if samples else None

    def _sample(self, index: int, generator: np.random.Generator | None) -> Sample | None:
        try:
            return self._dataset.read(index, generator)
        except InputError as error:
            log.warning("%s: a sample was left out: %s", self._dataset.name, error)
            return None


def _bounds(length: int, reading: Reading) -> list[tuple[int, int]]:
    starts = list(range(0, length, reading.size))
    # Batch norm cannot be trained on one sample: a lone last one joins the batch before it.
    if reading.training and len(starts) > 1 and length - starts[-1] == 1 and reading.size > 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], length], strict=True))


def stacked(number: int, samples: Sequence[Sample], *, pinned: bool = False) -> Loaded:
    """A batch of samples of one size. Raises InputError if they differ, or have no target."""
    shapes = {sample.inputs["image"].shape for sample in samples}
    if len(shapes) > 1:
        listed = ", ".join(map(str, sorted(shapes)[:3]))
        raise InputError(f"images of one batch differ in size ({listed}): set width and height")
    batch = Batch.of(samples)
    images = torch.from_numpy(batch.inputs["image"])
    placed = images.pin_memory() if pinned else images
    return Loaded(number, placed, batch.normalise, _targets(samples))


def _targets(samples: Sequence[Sample]) -> Array:
    targets = [sample.target for sample in samples]
    if any(target is None for target in targets):
        raise InputError(f"{samples[0].uri} has no target")
    whole = all(isinstance(target, int) for target in targets)
    try:
        return np.asarray(targets, np.int64 if whole else np.float32)
    except ValueError as error:
        raise InputError("samples of one batch differ in their number of targets") from error
