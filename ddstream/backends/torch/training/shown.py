"""What a test shows beside its measures: predictions of some samples, in their own pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddstream.api.predict import OutputParameters
from ddstream.api.showing import NAME, Showing
from ddstream.backends.torch.training.evaluation import Evaluation
from ddstream.backends.torch.training.loader import Loader
from ddstream.data import Dataset, Sample
from ddstream.errors import ParameterError

IMAGE, INDEX = "image", "index"
A_SET, AN_ITERATION = 1000003, 9176
"""What the seed of a draw grows by (contract 5.2)."""
LEFT_OUT = ("uri", "loss")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some samples of a test set; they know their number in it, and no original of another size."""

    dataset: Dataset
    indices: Sequence[int]

    @property
    def name(self) -> str:
        """The test set's."""
        return self.dataset.name

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """A chosen sample."""
        number = self.indices[index]
        return replace(self.dataset.read(number, rng), meta={INDEX: number})


class Shown:
    """Predictions of the samples that were asked for. Raises ParameterError for those that are
    not there."""

    def __init__(self, wish: Showing, evaluation: Evaluation) -> None:
        self._wish = wish
        self._evaluation = evaluation
        self._names = [f"test{index}" for index in range(len(evaluation.sets))]
        _check(wish, dict(zip(self._names, evaluation.sets, strict=True)))
        self._output = OutputParameters(
            best=wish.best,
            bbox=True,
            best_bbox=wish.best_bbox,
            confidence_threshold=wish.confidence_threshold,
        )

    def after(self, iteration: int) -> dict[str, Any]:
        """`test_predictions` of the model as it is: a member for each test set."""
        found: dict[str, Any] = {}
        for index, name in enumerate(self._names):
            if indices := self._indices(index, iteration):
                found[name] = {
                    "test_id": index,
                    "test_name": self._evaluation.sets[index].name,
                    "iteration": float(iteration),
                    "samples": self._samples(index, indices),
                }
        return found

    def _indices(self, index: int, iteration: int) -> Sequence[int]:
        if self._wish.indices:
            return self._wish.indices.get(self._names[index], ())
        seed = self._wish.sample_seed + A_SET * index + AN_ITERATION * iteration
        size = len(self._evaluation.sets[index])
        drawn = np.random.default_rng(seed).permutation(size)[: self._wish.sample_count]
        return sorted(drawn.tolist())

    def _samples(self, index: int, indices: Sequence[int]) -> list[Mapping[str, Any]]:
        evaluation = self._evaluation
        chosen = Chosen(evaluation.sets[index], indices)
        loader = Loader(chosen, evaluation.reading, evaluation.objective)
        found: list[Mapping[str, Any]] = []
        for batch in loader.batches(0, loader.per_epoch):
            for row, sample in zip(evaluation.rows(batch), batch.samples, strict=True):
                found.append(self._sample(row, sample))
        return found

    def _sample(self, row: Any, sample: Sample) -> dict[str, Any]:
        prediction = self._evaluation.task.decode(row, sample, self._output)
        told = {name: value for name, value in prediction.items() if name not in LEFT_OUT}
        shown = {INDEX: sample.meta[INDEX], "uri": sample.uri}
        if IMAGE in sample.inputs:
            height, width = sample.inputs[IMAGE].shape[:2]
            shown["imgsize"] = {"width": width, "height": height}
        return shown | told


def _check(wish: Showing, sets: Mapping[str, Dataset]) -> None:
    where = f"parameters.output.{NAME}.indices"
    for name, indices in wish.indices.items():
        if name not in sets:
            raise ParameterError(f"{where}: {name[:40]} is none of {', '.join(sets)}")
        for index in indices:
            if not 0 <= index < len(sets[name]):
                raise ParameterError(f"{where}: {name} has {len(sets[name])} samples, no {index}")
