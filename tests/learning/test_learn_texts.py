"""Names of territories and languages that Babel ships, in ten languages: which one is it?

No name of the test set is in the training set. The score is compared with that of a majority guess,
and with logistic regression (scikit-learn) on the very samples that the service made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from babel import Locale
from sklearn.linear_model import LogisticRegression

from ddstream.api.parameters import merged
from ddstream.connectors.texts.connector import TextConnector
from ddstream.data import Array, Datum
from ddstream.repository import Repository
from tests.learning.learner import Learnt, Lesson, School

LANGUAGES = ("de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "tr")
BAGS: Mapping[str, Any] = {
    "connector": "txt",
    "sentences": True,
    "min_count": 2,
    "min_word_length": 1,
    "sparse": True,
}
LETTERS: Mapping[str, Any] = {
    "connector": "txt",
    "sentences": True,
    "characters": True,
    "sequence": 40,
}


def names(language: str) -> dict[str, str]:
    """Names of territories and languages by their codes."""
    known = Locale(language)
    return {**known.territories, **{f"language {k}": v for k, v in known.languages.items()}}


def alphabet() -> str:
    """All letters and signs of the names."""
    return "".join(sorted({c for each in LANGUAGES for c in "".join(names(each).values()).lower()}))


def written(folder: Path, each: int, rounds: int) -> tuple[Path, Path]:
    """Texts of `each` names, a line a text and a file a language; the codes of a fifth of the names
    are kept for the test set. The training set has all others in `rounds` orders."""
    rng = np.random.default_rng(0)
    codes = sorted({code for language in LANGUAGES for code in names(language)})
    held = set(rng.permutation(codes)[: len(codes) // 5].tolist())
    for language in LANGUAGES:
        known = names(language)
        for part, times in (("train", rounds), ("test", 1)):
            own = sorted(code for code in known if (code in held) == (part == "test"))
            lines = []
            for _ in range(times):
                order = rng.permutation(own)
                ends = range(0, len(order) - each + 1, each)
                lines += [", ".join(known[c] for c in order[i : i + each]) for i in ends]
            (folder / part / language).mkdir(parents=True)
            (folder / part / language / "names.txt").write_text("\n".join(lines), "utf-8")
    return folder / "train", folder / "test"


def samples(learnt: Learnt, raw: Mapping[str, Any], folder: Path) -> tuple[Array, Array]:
    """Rows and classes that the service makes of a folder."""
    repository = Repository(Path(learnt.report["model"]["repository"]))
    used = TextConnector(merged(raw, {}), repository)
    found = list(used.labelled(Datum(str(folder), folder), {}))
    return np.stack([s.inputs["row"] for s in found]), np.array([s.target for s in found])


def told(learnt: Learnt, raw: Mapping[str, Any], train: Path, test: Path) -> tuple[float, float]:
    """The share of the most frequent language, and the score of logistic regression."""
    rows, targets = samples(learnt, raw, test)
    majority = float(np.bincount(targets).max() / len(targets))
    rival = LogisticRegression(max_iter=100).fit(*samples(learnt, raw, train))
    score = float(rival.score(rows, targets))
    print(f"\nmlp {learnt.measure['acc']:.3f}, regression {score:.3f}, majority {majority:.3f}")
    return majority, score


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.timeout(1800)
def test_languages_are_told_by_words(school: School) -> None:
    train, test = written(school.folder, each=8, rounds=4 if school.full else 2)
    learnt = school.teach(
        Lesson(
            name="words",
            connector=BAGS,
            mllib={
                "template": "mlp",
                "nclasses": 10,
                "template_params": {"layers": [64], "dropout": 0.5},
            },
            training={
                "solver": {"iterations": 600, "base_lr": 3e-3, "solver_type": "ADAM"},
                "net": {"batch_size": 32},
            },
            small={"solver": {"iterations": 250}},
            data=[train, test],
            measures=["acc", "f1", "mcll"],
        )
    )
    majority, rival = told(learnt, BAGS, train, test)
    assert majority < 0.12
    assert learnt.measure["acc"] >= 0.8
    assert learnt.measure["acc"] >= rival - 0.05


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.timeout(1800)
def test_languages_are_told_by_characters(school: School) -> None:
    train, test = written(school.folder, each=4, rounds=12 if school.full else 2)
    letters = {**LETTERS, "alphabet": alphabet()}
    learnt = school.teach(
        Lesson(
            name="characters",
            connector=letters,
            mllib={
                "template": "mlp",
                "nclasses": 10,
                "template_params": {"layers": [128], "dropout": 0.3},
            },
            training={
                "solver": {"iterations": 4000, "base_lr": 1e-3, "solver_type": "ADAM"},
                "net": {"batch_size": 64},
            },
            small={"solver": {"iterations": 400}},
            data=[train, test],
            measures=["acc", "f1", "mcll"],
        )
    )
    majority, rival = told(learnt, letters, train, test)
    assert majority < 0.12
    assert learnt.measure["acc"] >= 0.45
    assert learnt.measure["acc"] >= rival
