"""Tests during a training: every test set through the model, scored by its task."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.loader import Loaded, Loader, Reading
from ddstream.backends.torch.targets import fitting
from ddstream.data import OUTPUT, Array, Dataset
from ddstream.tasks import Task


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How test sets are scored. `forward` gives a batch's outputs on the device."""

    sets: Sequence[Dataset]
    reading: Reading
    task: Task
    measures: Sequence[str]
    parameters: TorchParameters
    forward: Callable[[Loaded], torch.Tensor]

    def score(self, index: int) -> Generator[int, None, dict[str, Any]]:
        """The measures of a test set; on the way the numbers of samples done."""
        loader = Loader(self.sets[index], self.reading)
        scores: list[Array] = []
        targets: list[Array] = []
        done = 0
        batches = loader.batches(0, loader.per_epoch)
        try:
            for batch in batches:
                outputs = self._outputs(batch)
                scores.append(self.task.activate({OUTPUT: outputs}))
                targets.append(fitting(batch.targets, outputs.shape[1], self.parameters))
                done += len(batch)
                yield done
        finally:
            batches.close()
        rows = list(np.concatenate(targets))
        found = self.task.score(np.concatenate(scores), rows, self.measures)
        return {**found, "test_id": index, "test_name": self.sets[index].name}

    def _outputs(self, batch: Loaded) -> Array:
        # Not around a yield: the mode belongs to the thread, and so to who reads the progress.
        with torch.inference_mode():
            outputs = self.forward(batch).float().cpu()
        rows: Array = outputs.reshape(len(batch), -1).numpy()
        return rows
