"""Tables of scikit-learn: digits, wines, tumours, diabetes; rows of numbers, of words, sparse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from tests.learning.learner import Learnt, Lesson, School
from tests.learning.tables import Data

pytestmark = pytest.mark.timeout(1800)


def _written(folder: Path, data: Data, kind: str, words: tuple[str, ...] = ()) -> list[Path]:
    paths = []
    for name, half in zip(("train", "test"), data.halves(), strict=True):
        path = folder / f"{name}.{kind}"
        paths.append(half.write_csv(path, words) if kind == "csv" else half.write_svm(path))
    return paths


def _training(iterations: int, **over: Any) -> dict[str, Any]:
    solver = {
        "iterations": iterations,
        "test_interval": 100,
        "base_lr": 2e-3,
        "solver_type": "ADAMW",
    }
    return {"solver": solver, "net": {"batch_size": 64, "test_batch_size": 512}, **over}


SMALL: Mapping[str, Any] = {"solver": {"iterations": 100, "test_interval": 50}}
SHUFFLED: Mapping[str, Any] = {"shuffle": True, "seed": 1}


@pytest.mark.over_kafka
@pytest.mark.parametrize("kind", ["csv", "svm"])
def test_a_perceptron_learns_digits(school: School, kind: str) -> None:
    columns = {"label": "label", "scale": True} if kind == "csv" else {}
    learnt = school.teach(
        Lesson(
            name=f"digits-{kind}",
            connector={"connector": kind, **columns},
            mllib={"template": "mlp", "nclasses": 10, "template_params": {"layers": [256, 128]}},
            training=_training(800),
            small=SMALL,
            train_input=SHUFFLED,
            data=_written(school.folder, Data.of(load_digits()), kind),
            measures=["acc", "f1"],
        )
    )
    assert learnt.measure["acc"] >= (0.97 if school.full else 0.90)
    assert learnt.measure["acc"] == pytest.approx(learnt.report["measure"]["acc"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "words"),
    [("wine", ("alcohol", "hue")), ("tumours", ("mean_radius", "worst_texture"))],
)
def test_a_perceptron_learns_from_words_and_numbers(
    school: School, name: str, words: tuple[str, ...]
) -> None:
    data = Data.of(load_wine() if name == "wine" else load_breast_cancer())
    learnt = school.teach(
        Lesson(
            name=name,
            connector={
                "connector": "csv",
                "label": "label",
                "categoricals": words,
                "scale": True,
                "scale_type": "znorm",
            },
            mllib={
                "template": "mlp",
                "nclasses": len(set(data.targets.tolist())),
                "template_params": {"layers": [64], "dropout": 0.2, "activation": "gelu"},
            },
            training=_training(300),
            small=SMALL,
            train_input=SHUFFLED,
            data=_written(school.folder, data, "csv", words),
            measures=["acc", "f1"],
        )
    )
    assert learnt.measure["acc"] >= (0.95 if school.full else 0.90)
    told = learnt.report["parameters"]["input"]
    assert set(told["categoricals_mapping"]) == set(words)
    assert len(told["mean_vals"]) == len(data.names) + 2 * len(words)


def test_a_perceptron_tells_diabetes_as_well_as_ridge_regression(school: School) -> None:
    data = Data.of(load_diabetes(scaled=False))
    learnt = school.teach(
        Lesson(
            name="diabetes",
            connector={
                "connector": "csv",
                "label": "label",
                "scale": True,
                "scale_type": "znorm",
            },
            mllib={"template": "mlp", "ntargets": 1, "loss": "L2"},
            training=_training(
                1500, template_params={"layers": 32, "dropout": 0.3, "batch_norm": True}
            ),
            small={"solver": {"iterations": 400, "test_interval": 100, "base_lr": 0.02}},
            train_input=SHUFFLED,
            data=_written(school.folder, data, "csv"),
            measures=["eucll", "l1"],
        )
    )
    train, test = data.halves()
    scaler = StandardScaler().fit(train.rows)
    ridge = Ridge().fit(scaler.transform(train.rows), train.targets)
    wanted = np.abs(ridge.predict(scaler.transform(test.rows)) - test.targets).mean()
    assert learnt.measure["eucll"] <= wanted * (1.0 if school.full else 1.5)
    assert _explained(learnt, test) >= (
        ridge.score(scaler.transform(test.rows), test.targets) if school.full else 0.0
    )


def _explained(learnt: Learnt, test: Data) -> float:
    """The share of the variance that is told (R2)."""
    lines = [",".join(map(str, row)) for row in test.rows]
    found = learnt.service.predict(lines)["predictions"]
    values = np.array([each["vector"][0]["val"] for each in found])
    rest = ((values - test.targets) ** 2).sum()
    return float(1 - rest / ((test.targets - test.targets.mean()) ** 2).sum())
