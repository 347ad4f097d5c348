"""Sunspots since 1700 (statsmodels): the last fifth of the years is told from those before.

What is learned must be better than repeating the last value, which is worked out here on the same
windows, and than the change from one year to the next (a MASE below one).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.datasets import sunspots

from ddstream.data import Array
from tests.learning.learner import Learnt, Lesson, School

pytestmark = pytest.mark.timeout(1800)

BACK, AHEAD = 22, 2
WINDOW = 40
MEASURES = ["L1", "mase", "mae", "smape", "owa"]
MODELS: dict[str, dict[str, Any]] = {
    "nbeats": {"template": "nbeats"},
    "ttransformer": {
        "template": "ttransformer",
        "template_params": {"embed": {"layers": 1}, "positional_encoding": {"learn": True}},
    },
    "autoreg": {
        "template": "ttransformer",
        "template_params": {
            "embed": {"dim": 16, "layers": 1, "dropout": 0.0},
            "positional_encoding": {"dropout": 0.0},
            "encoder": {"heads": 4, "dropout": 0.0},
            "decoder": {"dropout": 0.0},
            "autoreg": True,
        },
    },
}


def halves() -> dict[str, Array]:
    """The numbers of all years: four fifths to learn from, the last one to test with."""
    spots = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    cut = len(spots) * 4 // 5
    return {"train": spots[:cut], "test": spots[cut:]}


def written(school: School, name: str, header: str, rows: dict[str, list[str]]) -> list[Path]:
    """A folder with one table for each half."""
    folders = []
    for half, lines in rows.items():
        folder = school.folder / name / half
        folder.mkdir(parents=True)
        (folder / "sunspots.csv").write_text("\n".join([header, *lines]) + "\n")
        folders.append(folder)
    return folders


def taught(school: School, lesson: Lesson) -> Learnt:
    """What came of a lesson; its measures are those of the best weights, asked anew."""
    learnt = school.teach(lesson)
    assert learnt.report["parameters"]["input"]["connector"] == "csvts"
    assert learnt.measure["MASE"] < 1
    return learnt


def training(iterations: int, rate: float) -> dict[str, Any]:
    solver = {
        "iterations": iterations,
        "test_interval": 50,
        "base_lr": rate,
        "solver_type": "ADAM",
    }
    return {"solver": solver, "net": {"batch_size": 32}}


@pytest.mark.parametrize(
    ("name", "rate", "few"), [("nbeats", 3e-3, 150), ("ttransformer", 1e-3, 700)]
)
def test_a_forecast_of_sunspots_is_better_than_the_last_value(
    school: School, name: str, rate: float, few: int
) -> None:
    forecast(school, name, rate, few)


def test_sunspots_are_told_one_after_the_other(school: School) -> None:
    forecast(school, "autoreg", 5e-3, 150)


def forecast(school: School, name: str, rate: float, few: int) -> None:
    """A lesson in two years ahead of twenty-two."""
    rows = {half: [f"{value}" for value in values] for half, values in halves().items()}
    learnt = taught(
        school,
        Lesson(
            name=f"sunspots-{name}",
            connector={
                "connector": "csvts",
                "backcast_timesteps": BACK,
                "forecast_timesteps": AHEAD,
                "offset": 1,
                "scale": True,
            },
            mllib=MODELS[name],
            training=training(600, rate),
            small={"solver": {"iterations": few}},
            train_input={"shuffle": True, "seed": 1},
            data=written(school, name, "spots", rows),
            measures=MEASURES,
        ),
    )
    came = np.lib.stride_tricks.sliding_window_view(halves()["test"], BACK + AHEAD)
    repeated = float(np.abs(came[:, BACK:] - came[:, BACK - 1 : BACK]).mean())
    assert learnt.measure["MAE"] < repeated
    print(f"{name}: MASE {learnt.measure['MASE']:.3f}, MAE {learnt.measure['MAE']:.2f}", end=" ")
    print(f"(repeating the last value: {repeated:.2f})")


def test_an_lstm_tells_each_year_from_those_before(school: School) -> None:
    pairs = {
        half: [f"{before},{now}" for before, now in pairwise(values)]
        for half, values in halves().items()
    }
    learnt = taught(
        school,
        Lesson(
            name="sunspots-recurrent",
            connector={
                "connector": "csvts",
                "label": "now",
                "timesteps": WINDOW,
                "offset": 1,
                "scale": True,
            },
            mllib={"template": "recurrent", "layers": ["L32"]},
            training=training(400, 1e-2),
            small={"solver": {"iterations": 100}},
            train_input={"shuffle": True, "seed": 1},
            data=written(school, "recurrent", "before,now", pairs),
            measures=MEASURES,
        ),
    )
    changes = np.abs(np.diff(halves()["test"]))
    repeated = float(np.lib.stride_tricks.sliding_window_view(changes, WINDOW).mean())
    assert learnt.measure["MAE"] < repeated
    print(f"recurrent: MASE {learnt.measure['MASE']:.3f}, MAE {learnt.measure['MAE']:.2f}", end=" ")
    print(f"(repeating the last value: {repeated:.2f})")
