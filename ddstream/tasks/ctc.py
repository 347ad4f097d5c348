"""CTC: the text that an image reads, from scores of letters at each of its steps."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Outputs, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.measures import reading
from ddstream.measures.reading import Readings
from ddstream.tasks.classification import softmax
from ddstream.tasks.elements import ended
from ddstream.tasks.protocol import UNKNOWN, Rows, Tally, Traits

BLANK = 0
"""What stands between letters in training, and unless `output.blank_label` says otherwise."""
WIDTH = 32
"""Beginnings of texts that a search keeps at each step, if no more texts are asked for."""
WIDEST = 128
"""Most of them, however many texts are asked for: other answers wait while one is searched."""
LETTERS = 24
"""The most probable letters that a search looks at in each step."""


class Text(NamedTuple):
    """Ids of letters, and how probable they are."""

    letters: tuple[int, ...]
    probability: float


class Ctc:
    """Reads logits N x T x A as texts (contract 2.8); classes are code points of letters."""

    name = "ctc"
    measures: Sequence[str] = ("acc",)

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._classes = traits.classes

    def activate(self, outputs: Outputs) -> Array:
        """Probabilities N x T x A of a batch, in doubles: their products are small."""
        return softmax(outputs[OUTPUT].astype(np.float64))

    def decode(self, row: Array, sample: Sample, output: OutputParameters) -> Json:
        """The text above the threshold; with a `best` that is not 1 the most probable texts.

        The one text is that of the most probable letter of each step, and `prob` their product.
        Several are searched for, and `prob` is that of all ways to read the text.
        """
        blank = output.blank_label
        if blank >= row.shape[1]:
            raise ParameterError(
                f"parameters.output.blank_label {blank} is not among the model's "
                f"{row.shape[1]} letters"
            )
        texts = [greedy(row, blank)] if output.best == 1 else searched(row, blank, output.best)
        bound = output.confidence_threshold
        elements = [
            {"prob": text.probability, "cat": self._read(text.letters)}
            for text in texts
            if bound <= 0 or text.probability > bound
        ]
        return {"uri": sample.uri, "loss": 0.0, "classes": ended(elements)}

    def tally(self, measures: Sequence[str]) -> Tally:
        """Measures of texts against ids of letters."""
        return _Texts(measures, self._read)

    def knows(self, measure: str) -> bool:
        """Whether a test of this task has such a measure."""
        return reading.knows(measure)

    def _read(self, letters: Sequence[int]) -> str:
        """The text of letters; numbers, where the model has no alphabet."""
        if not self._classes:
            return " ".join(map(str, letters))
        return "".join(self._letter(number) for number in letters)

    def _letter(self, number: int) -> str:
        name = self._classes[number] if number < len(self._classes) else ""
        code = int(name) if name.isdecimal() else sys.maxunicode + 1
        if code > sys.maxunicode:
            raise ParameterError(f"corresp.txt has no code point of letter {number}")
        return chr(code)


class _Texts:
    """A tally of texts, and of what the images read."""

    def __init__(self, measures: Sequence[str], read: Callable[[Sequence[int]], str]) -> None:
        self._measures = measures
        self._read = read
        self._readings = Readings(keeps=reading.keeps_texts(measures))

    def add(self, rows: Rows, samples: Sequence[Sample]) -> None:
        """Take in a batch. Raises InputError for a sample without a text."""
        for row, sample in zip(rows, samples, strict=True):
            target = sample.target
            if not isinstance(target, np.ndarray) or target.ndim != 1:
                raise InputError(f"{sample.uri} has no text")
            text = greedy(row, BLANK)
            truth = self._read(target.tolist())
            self._readings.add(self._read(text.letters), truth, text.probability)

    def result(self) -> Mapping[str, Any]:
        """The measures of all that was added."""
        return reading.compute(self._measures, self._readings)


def greedy(shares: Array, blank: int = BLANK) -> Text:
    """The most probable letter of each step of T x A, repeated ones once, without blanks.

    A `blank` of -1 is none.

    >>> greedy(np.array([[0.2, 0.8], [0.4, 0.6], [0.9, 0.1], [0.3, 0.7]])).letters
    (1, 1)
    """
    best = shares.argmax(axis=1)
    before = np.concatenate([[blank], best[:-1]])
    letters = best[(best != before) & (best != blank)]
    with np.errstate(divide="ignore"):
        probability = np.exp(np.log(shares.max(axis=1)).sum())
    return Text(tuple(letters.tolist()), float(probability))


def searched(shares: Array, blank: int = BLANK, best: int = -1) -> list[Text]:
    """The most probable texts of T x A, by a search of beginnings (Graves 2012, section 7.5.3).

    All that the search has kept, if `best` is -1; never more than `WIDEST`. A probability is the
    sum over all ways to read a text that the search has met.

    >>> (text,) = searched(np.array([[0.6, 0.4], [0.6, 0.4]]), best=1)
    >>> text.letters, round(text.probability, 2)
    ((1,), 0.64)
    """
    width = min(max(WIDTH, best), WIDEST)
    ends: dict[tuple[int, ...], End] = {(): End(blank=1.0)}
    scale = 0.0
    for step in shares:
        ends = _next(ends, step, blank)
        kept = sorted(ends.items(), key=lambda pair: -pair[1].total)[:width]
        if not kept:
            # No number of this step is one.
            return []
        # Long texts would leave the range of doubles.
        highest = kept[0][1].total
        scale += float(np.log(highest))
        ends = {text: end.shrunk(highest) for text, end in kept}
    found = [Text(text, float(end.total * np.exp(scale))) for text, end in ends.items()]
    return found[: best if best >= 0 else None]


@dataclass(slots=True)
class End:
    """How probable a beginning of a text is, by whether its last step was a blank or a letter."""

    blank: float = 0.0
    letter: float = 0.0

    @property
    def total(self) -> float:
        """Of both together."""
        return self.blank + self.letter

    def shrunk(self, by: float) -> End:
        """The same as a share of `by`."""
        return End(self.blank / by, self.letter / by)


Ends: TypeAlias = Mapping[tuple[int, ...], End]


def _next(ends: Ends, step: Array, blank: int) -> dict[tuple[int, ...], End]:
    """The possible beginnings after one more step of probabilities A."""
    found: defaultdict[tuple[int, ...], End] = defaultdict(End)
    letters = [(i, float(step[i])) for i in np.argsort(-step)[:LETTERS].tolist() if i != blank]
    silent = float(step[blank]) if blank >= 0 else 0.0
    for text, end in ends.items():
        found[text].blank += end.total * silent
        if text:
            found[text].letter += end.letter * float(step[text[-1]])
        for letter, share in letters:
            # A letter that goes on is one letter: it comes twice only with a blank in between.
            before = end.blank if text and text[-1] == letter else end.total
            found[(*text, letter)].letter += before * share
    return {text: end for text, end in found.items() if end.total > 0}
