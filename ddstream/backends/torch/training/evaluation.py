"""Tests during a training: every test set through the model, scored by its task."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ddstream.backends.torch.devices import numbers
from ddstream.backends.torch.objectives import Objective, Tensors
from ddstream.backends.torch.training.loader import Loaded, Loader, Reading
from ddstream.data import Dataset
from ddstream.tasks import Task
from ddstream.tasks.protocol import Rows


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How test sets are scored. `results` gives a batch's results on the device."""

    sets: Sequence[Dataset]
    reading: Reading
    task: Task
    measures: Sequence[str]
    objective: Objective
    results: Callable[[Loaded], Tensors]

    def score(self, index: int) -> Generator[int, None, dict[str, Any]]:
        """The measures of a test set; on the way the numbers of samples done."""
        loader = Loader(self.sets[index], self.reading, self.objective)
        tally = self.task.tally(self.measures)
        done = 0
        batches = loader.batches(0, loader.per_epoch)
        try:
            for batch in batches:
                tally.add(self.rows(batch), batch.samples)
                done += len(batch)
                yield done
        finally:
            batches.close()
        return {**tally.result(), "test_id": index, "test_name": self.sets[index].name}

    def rows(self, batch: Loaded) -> Rows:
        """What the task reads of a batch."""
        # Not around a yield: the mode belongs to the thread, and so to who reads the progress.
        # Not inference_mode: what TorchScript has compiled in training keeps values in it.
        with torch.no_grad():
            return self.task.activate(numbers(self.results(batch)))
