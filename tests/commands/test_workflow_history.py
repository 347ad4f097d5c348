"""What a training measures, point by point; what is new at a look, what a resumed run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from ddstream.api.job import History
from ddstream.commands.workflow.events import Events
from ddstream.commands.workflow.history import NewPoints, Point, Schedule
from ddstream.commands.workflow.run_folder import RunFolder, run_name


def told(iterations: int, interval: int) -> Mapping[str, Sequence[int]]:
    """The series of a training of so many iterations: each value is where it stands."""
    tests = [n for n in range(1, iterations + 1) if n % interval == 0 or n == iterations]
    return {"train_loss": list(range(iterations)), "acc": tests, "acc_test0": tests}


@given(st.integers(1, 60), st.integers(1, 20), st.lists(st.integers(0, 60)), st.integers(1, 100))
def test_every_point_is_told_once_and_in_its_place(
    iterations: int, interval: int, looks: Sequence[int], most: int
) -> None:
    new = NewPoints(Schedule(iterations, interval))
    whole = told(iterations, interval)
    points: list[Point] = []
    for look in [*sorted(looks), iterations]:
        done = min(look, iterations)
        series: dict[str, list[float]] = {
            name: [n for n in values if n < done or (name != "train_loss" and n == done)]
            for name, values in whole.items()
        }
        points += new(History(series).sampled(most))
    for name, values in whole.items():
        mine = [point for point in points if point.name == name]
        # Whatever was left out, a point stands at its own iteration.
        assert all(point.value == point.iteration for point in mine)
        assert [point.iteration for point in mine] == sorted({p.iteration for p in mine})
        if most >= iterations:
            assert [point.iteration for point in mine] == list(values)


def test_places_that_the_history_tells_go_before_the_schedule() -> None:
    hist = {"acc_hist": [0.5, 0.6], "iteration_hist": [3, 9], "train_loss_hist": [1.0] * 9}
    found = list(NewPoints(Schedule(9, 4))({"measure_hist": hist}))
    assert [point for point in found if point.name == "acc"] == [
        Point("acc", 0.5, 3),
        Point("acc", 0.6, 9),
    ]


def test_without_a_history_live_values_are_points() -> None:
    new = NewPoints(Schedule(9, 4))
    measure = {"iteration": 3.0, "train_loss": 0.5, "state": "training"}
    assert list(new({"measure": measure})) == [Point("train_loss", 0.5, 3)]
    assert list(new({"measure": measure})) == []


def test_values_that_are_no_numbers_are_no_points() -> None:
    hist = {"train_loss_hist": [1.0, float("nan"), None, 0.5]}
    found = NewPoints(Schedule(4, 4))({"measure_hist": hist})
    assert [point.iteration for point in found] == [0, 3]


def about(name: str = "run") -> Mapping[str, Any]:
    return {
        "run_name": name,
        "command": "train",
        "model": "mlp",
        "service_name": name,
        "options": {"train_data": Path("/data")},
    }


def kept(folder: RunFolder, series: Mapping[str, Sequence[float]], places: Sequence[int]) -> None:
    events = Events([folder])
    for name, values in series.items():
        for place, value in zip(places, values, strict=False):
            events("metric", run_id=folder.run_id, name=name, value=value, iteration=place)


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, about())
    kept(folder, {"train_loss": [3, 2, 1, 0]}, [0, 1, 2, 3])
    kept(folder, {"acc": [0.5, 0.6]}, [2, 4])
    # Two iterations are kept: the third one's loss goes, the test after the second stays.
    assert RunFolder(tmp_path, about()).taken_back(2) == {
        "train_loss": [(0, 3), (1, 2)],
        "acc": [(2, 0.5)],
    }
    lines = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["iteration"] for line in lines] == [0, 1, 2]


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, about())
    kept(folder, {"train_loss": [3, 2]}, [0, 1])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"event": "met')
    assert folder.observe("error") == {"train_loss": [(0, 3), (1, 2)]}


def test_a_run_tells_what_it_was_and_how_it_ended(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "one", about("one"))
    Events([folder])("training_status", run_id=folder.run_id, status="running", job=3)
    kept(folder, {"train_loss": [3, 1, 2]}, [0, 1, 2])
    folder.observe("finished")
    run = orjson.loads((folder.path / "run.json").read_bytes())
    assert (run["status"], run["job"], run["run_id"]) == ("running", 3, folder.run_id)
    assert run["options"] == {"train_data": "/data"}
    observed = orjson.loads((folder.path / "training-observability.json").read_bytes())
    assert observed["metrics"]["train_loss"] == {
        **{"points": 3, "first": 3, "last": 2, "min": 1, "max": 3},
        "last_iteration": 2,
    }


def test_a_run_is_named_by_its_folder() -> None:
    assert run_name(Path("/models/My model!")) == "My-model"
    assert run_name(Path("/")) == "run"


def test_a_look_stays_as_it_was_while_the_training_goes_on() -> None:
    history = History({"train_loss": [0.5]})
    whole, thinned = history.sampled(9), history.sampled(1)
    history.extend({"train_loss": [0.4, 0.3]})
    assert whole["measure_hist"] == thinned["measure_hist"] == {"train_loss_hist": [0.5]}
