"""Measures of texts that were read from images (contract 4.3, CTC): exact matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ddstream.measures.request import match

Results: TypeAlias = dict[str, Any]
MEASURES = ("acc", "cer", "raw")
LOOSE = ("acc",)


@dataclass(slots=True)
class Readings:
    """Texts as they were read and as they are, with how sure the reader was; `raw` keeps them."""

    keeps: bool = False
    texts: int = 0
    right: int = 0
    letters: int = 0
    edits: int = 0
    """Letters of all texts, and those to be inserted, left out or replaced to get them."""
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def add(self, read: str, truth: str, confidence: float = 1.0) -> None:
        """Count a text."""
        self.texts += 1
        self.right += read == truth
        self.letters += len(truth)
        self.edits += 0 if read == truth else edits(read, truth)
        if self.keeps:
            self.rows.append((truth, read, confidence))


def exact(readings: Readings) -> float:
    """Share of texts that were read without any error.

    >>> readings = Readings()
    >>> readings.add("cat", "cat")
    >>> readings.add("dog", "dig")
    >>> exact(readings)
    0.5
    """
    return readings.right / readings.texts if readings.texts else float("nan")


def character_error_rate(readings: Readings) -> float:
    """Edits from what was read to what is there, a letter of what is there.

    >>> readings = Readings()
    >>> readings.add("dogs", "dig")
    >>> round(character_error_rate(readings), 4)
    0.6667
    """
    return readings.edits / readings.letters if readings.letters else float("nan")


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest letters to insert, leave out or replace (Levenshtein 1966).

    >>> edits("kitten", "sitting")
    3
    """
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != wanted))
    return row[-1]


def knows(request: str) -> bool:
    """Whether a requested name is a measure of texts."""
    return match(request, MEASURES, LOOSE) is not None


def keeps_texts(requests: Sequence[str]) -> bool:
    """Whether one of the measures looks at single texts."""
    return "raw" in requests


def compute(requests: Sequence[str], readings: Readings) -> Results:
    """The requested measures; names of other families are left out.

    >>> readings = Readings()
    >>> readings.add("cat", "cat")
    >>> compute(["acc"], readings)
    {'acc': 1.0}
    """
    wanted = {one.name for each in requests if (one := match(each, MEASURES, LOOSE))}
    found: Results = {}
    if "acc" in wanted:
        found["acc"] = exact(readings)
    if "cer" in wanted:
        found["cer"] = character_error_rate(readings)
    if "raw" in wanted:
        rows = readings.rows
        found["raw"] = {
            "truths": [truth for truth, _, _ in rows],
            "estimations": [read for _, read, _ in rows],
            "confidences": [confidence for _, _, confidence in rows],
        }
    return found
