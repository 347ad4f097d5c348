"""Language: words of a vocabulary, at masked places of a text or after its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample
from ddstream.errors import InputError
from ddstream.measures import counted
from ddstream.tasks.classification import best_classes, softmax
from ddstream.tasks.elements import ended
from ddstream.tasks.protocol import UNKNOWN, Rows, Tally, Traits

IGNORED: Final = -1
"""The target of places that count for nothing."""


class Language:
    """Reads logits as probabilities of words (contract 2.3).

    A sample's `meta` names its places: `last`, the last token of a prompt, for what follows;
    `masked`, the places that were masked, for what was there. `classes` are the words of the
    vocabulary by their ids.
    """

    name = "language"
    measures: Sequence[str] = ("acc", "mcll")

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._words = traits.classes

    def activate(self, outputs: Outputs) -> Array:
        """Logits N x L x V of a batch."""
        return outputs[OUTPUT]

    def decode(self, row: Array, sample: Sample, output: OutputParameters) -> Json:
        """The best words of the place that is asked for; of several masked places those of each,
        in their order, every word with its `mask`, the number of its place among them.

        Raises InputError for a text that asks for nothing.
        """
        prediction: Json = {"uri": sample.uri, "loss": 0.0}
        if (last := sample.meta.get("last")) is not None:
            return prediction | {"classes": ended(self._at(row, last, output))}
        places = sample.meta.get("masked") or []
        if not places:
            raise InputError(f"{sample.uri[:200]} has no [MASK], so that no word is asked for")
        words = [self._at(row, place, output) for place in places]
        if len(words) == 1:
            return prediction | {"classes": ended(words[0])}
        numbered = [{**word, "mask": number} for number, at in enumerate(words) for word in at]
        return prediction | {"classes": ended(numbered)}

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of logits N x L x V against ids L; each place that has one is a sample."""
        return _Places(measures)

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure: none that needs a matrix of classes."""
        return counted.knows(measure)

    def _at(self, row: Array, place: int, output: OutputParameters) -> list[Json]:
        return best_classes(softmax(row[place]), self._words, output)


class _Places:
    """Counts the places of each batch, and keeps none of them."""

    def __init__(self, measures: Sequence[str]) -> None:
        self._measures = measures
        self._counts = counted.counting(measures)

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch. Raises InputError for a sample without targets."""
        for row, sample in zip(rows, samples, strict=True):
            if not isinstance(sample.target, np.ndarray):
                raise InputError(f"{sample.uri} has no target")
            # A batch is as long as its longest text; nothing is asked for behind.
            target = sample.target[: len(row)]
            told = target != IGNORED
            self._counts.add(row[told], target[told])

    def result(self) -> Mapping[str, Any]:
        """The measures of all places."""
        return counted.compute(self._measures, self._counts)
