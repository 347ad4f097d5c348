"""Docstrings of the standard library: a small bert learns to tell the words that were masked.

Who knows only how often each word comes cannot do better than the entropy of the words that are
asked for; less than that is told by what stands around them.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.api.parameters import merged
from ddstream.connectors.texts.connector import TextConnector
from ddstream.data import Datum
from ddstream.repository import Repository
from tests.learning.learner import Lesson, School

SHORTEST = 40
"""Characters of a paragraph that is worth reading."""
TEXTS: Mapping[str, Any] = {
    "connector": "txt",
    "sentences": True,
    "ordered_words": True,
    "wordpiece_tokens": True,
    "sequence": 32,
}
SIZES: Mapping[str, Any] = {"hidden_size": 64, "layers": 2, "heads": 4, "max_positions": 64}


def paragraphs() -> Iterator[str]:
    """The paragraphs of all docstrings in the modules of this Python, a line each."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    line = " ".join(paragraph.split())
                    if len(line) >= SHORTEST:
                        yield line


def written(folder: Path) -> tuple[Path, Path]:
    """A file to learn from, and one of three hundred other paragraphs."""
    lines = list(dict.fromkeys(paragraphs()))
    order = np.random.default_rng(0).permutation(len(lines))
    mixed = [lines[number] for number in order]
    train, test = folder / "train.txt", folder / "test.txt"
    train.write_text("\n".join(mixed[:-300]), "utf-8")
    test.write_text("\n".join(mixed[-300:]), "utf-8")
    return train, test


def entropy(
    repository: Path, raw: Mapping[str, Any], mllib: Mapping[str, Any], test: Path
) -> float:
    """That of the words that a test asks for, in nats."""
    used = TextConnector(merged(raw, {}), Repository(repository))
    targets = [each.target for each in used.labelled(Datum(str(test), test), mllib)]
    ids = np.concatenate([t[t != -1] for t in targets if isinstance(t, np.ndarray)])
    shares = np.bincount(ids) / len(ids)
    return float(-sum(share * np.log(share) for share in shares if share))


@pytest.mark.promise("services.torch.self_supervised")
@pytest.mark.timeout(3600)
def test_bert_learns_to_tell_masked_words(school: School) -> None:
    train, test = written(school.folder)
    raw = {**TEXTS, "vocabulary_size": 2000 if school.full else 200}
    mllib = {
        "template": "bert",
        "self_supervised": "mask",
        "template_params": {**SIZES, "dropout": 0.1 if school.full else 0.0},
    }
    learnt = school.teach(
        Lesson(
            name="masked",
            connector=raw,
            mllib=mllib,
            training={
                "solver": {
                    "iterations": 3000,
                    "test_interval": 1000,
                    "base_lr": 2e-3,
                    "solver_type": "ADAM",
                },
                "net": {"batch_size": 64, "test_batch_size": 32},
            },
            small={
                "solver": {"iterations": 200, "test_interval": 200, "base_lr": 3e-3},
                "net": {"batch_size": 32},
            },
            data=[train, test],
            measures=["mcll", "acc", "acc-5"],
        )
    )
    known = entropy(Path(learnt.report["model"]["repository"]), raw, mllib, test)
    print(f"\nloss {learnt.measure['mcll']:.3f}, entropy {known:.3f}, {learnt.measure}")
    assert learnt.measure["mcll"] < known - (0.5 if school.full else 0.1)
    # The same words are masked in every test.
    assert learnt.measure["mcll"] == pytest.approx(learnt.report["measure"]["mcll"], abs=1e-3)
