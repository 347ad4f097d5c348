"""Checkpoints: what is written, what a training goes on from, the best models."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddstream.api.parameters import merged
from ddstream.backends.torch.training.best import Best, BestModels
from ddstream.backends.torch.training.randomness import restore, states
from ddstream.data import Progress
from ddstream.errors import ParameterError
from ddstream.fence import FENCE, Fence
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend
from tests.backends.digit_sets import digits
from tests.backends.trainings import RAW, begun, names, trained, trainer_of, weights

RESUME_NEEDED = (
    r"a solverstate \(solver-xxx\.pt\) file is present in repo, dede requires a resume argument "
    r"for training, otherwise delete existing training state files \(with clear=lib\) to cleanup "
    r"the model repository"
)
SOLVER_NEEDED = (
    r"resuming a model requires a solverstate \(solver-xxx\.pt\) file in model repository"
)
ADAM: dict[str, Any] = {"solver_type": "ADAM", "base_lr": 0.003}

pytestmark = pytest.mark.usefixtures("traced")


def solver(iterations: int, **options: Any) -> dict[str, Any]:
    return {"solver": {**ADAM, "iterations": iterations, **options}}


@pytest.mark.promise("train.torch.resume")
def test_a_resumed_training_equals_an_unbroken_one(
    repository: Repository, traced: Path, tmp_path: Path
) -> None:
    broken = Repository.open(tmp_path / "broken", create=True)
    broken.write("tiny.pt", traced.read_bytes())
    # 40 samples in batches of 8: the break lies within an epoch.
    whole = trained(repository, solver(9))
    first = trained(broken, solver(3))
    rest = trained(broken, {**solver(9), "resume": True})
    losses = [each.points["train_loss"] for each in (*first, *rest)]
    assert losses == [each.points["train_loss"] for each in whole]
    assert [each.iteration for each in rest] == [4, 5, 6, 7, 8, 9]
    expected = weights(repository.path / "checkpoint-9.pt")
    for name, value in weights(broken.path / "checkpoint-9.pt").items():
        assert torch.equal(value, expected[name])
    assert rest[0].points["elapsed_time_ms"] > first[-1].points["elapsed_time_ms"]


def test_the_order_of_a_random_shuffle_survives_a_break(repository: Repository) -> None:
    data = digits()
    object.__setattr__(data, "seed", -1)
    trained(repository, solver(2), data)
    kept = torch.load(repository.path / "solver-2.pt", weights_only=True)
    trained(repository, {**solver(3), "resume": True}, data)
    again = torch.load(repository.path / "solver-3.pt", weights_only=True)
    assert again["seed"] == kept["seed"]
    assert (kept["batches"], again["batches"]) == (2, 3)


def test_a_training_that_is_complete_is_only_tested(repository: Repository) -> None:
    trained(repository, solver(3))
    (only,) = trained(repository, {**solver(3), "resume": True})
    assert only.iteration == 3
    assert only.measures is not None
    assert only.measures[0]["iteration"] == 3.0
    assert "learning_rate" not in only.points


def test_the_new_request_goes_before_what_was_kept(repository: Repository) -> None:
    trained(repository, solver(2))
    over = solver(3, base_lr=0.5)
    assert trained(repository, {**over, "resume": True})[0].points["learning_rate"] == 0.5


def test_a_new_training_beside_an_old_one_is_refused(repository: Repository) -> None:
    trained(repository, solver(1))
    with pytest.raises(ParameterError, match=RESUME_NEEDED):
        trained(repository, solver(2))


def test_there_must_be_something_to_resume(repository: Repository) -> None:
    with pytest.raises(ParameterError, match=SOLVER_NEEDED):
        trained(repository, {"resume": True})


def test_another_solver_starts_afresh_and_says_so(repository: Repository) -> None:
    trained(repository, solver(2))
    trainer = trainer_of(repository)
    raw = {**RAW, "resume": True, "solver": {"iterations": 3, "solver_type": "SGD"}}
    told = list(trainer.fit(digits(), raw, ()))
    assert told[-1].iteration == 3
    assert trainer.warnings == [
        "parameters.mllib.solver.solver_type is SGD, the checkpoint's is ADAM: "
        "the solver starts afresh"
    ]


def test_a_checkpoint_of_another_model_is_refused(repository: Repository) -> None:
    trained(repository, solver(1))
    over = {**solver(2), "resume": True, "multi_label": True}
    with pytest.raises(ParameterError, match="was trained with multi_label False, not True"):
        trained(repository, over)


@pytest.mark.promise("train.torch.resume_from")
def test_a_training_goes_on_from_the_best_or_from_the_latest(repository: Repository) -> None:
    trained(repository, solver(4, snapshot=2))
    repository.write("best_model.txt", b"iteration:2\nacc:0.9\n")
    best = trained(repository, {**solver(3, snapshot=2), "resume": True, "resume_from": "best"})
    assert [each.iteration for each in best] == [3]
    latest = trained(repository, {**solver(5), "resume": True, "resume_from": "latest"})
    assert [each.iteration for each in latest] == [5]
    (repository.path / "solver-2.pt").unlink()
    repository.write("best_model.txt", b"iteration:2\nacc:0.9\n")
    with pytest.raises(ParameterError, match="could not find best solver state"):
        trained(repository, {**solver(6), "resume": True, "resume_from": "best"})


def test_a_deleted_checkpoint_is_not_resumed_from(repository: Repository) -> None:
    trained(repository, solver(3, snapshot=2))
    (repository.path / "checkpoint-3.pt").unlink()
    found = trained(repository, {**solver(4), "resume": True})
    assert [each.iteration for each in found] == [3, 4]


def test_stopping_keeps_the_iteration_that_was_reached(repository: Repository) -> None:
    with closing(begun(repository, solver(1000))) as told:
        for each in told:
            if each.iteration == 3:
                break
    assert {"checkpoint-3.pt", "solver-3.pt"} <= names(repository)
    found = trained(repository, {**solver(5), "resume": True})
    assert [each.iteration for each in found] == [4, 5]


def test_stopping_within_a_test_keeps_the_iteration_too(repository: Repository) -> None:
    with closing(begun(repository, solver(1000, test_interval=2))) as told:
        assert _first_word_of_a_test(told) == 2
    assert "checkpoint-2.pt" in names(repository)
    assert not torch.is_inference_mode_enabled()


def _first_word_of_a_test(told: Generator[Progress, None, None]) -> int:
    return next(each.iteration for each in told if each.live["test_active"])


def test_the_files_of_a_training(repository: Repository, make_backend: MakeBackend) -> None:
    trained(repository, solver(3), digits(sets=2), ["acc"])
    assert names(repository) == {
        *("tiny.pt", "checkpoint-3.pt", "solver-3.pt", "corresp.txt"),
        "architecture.json",
        *("best_model.txt", "best_model_test_0.txt", "best_model_test_1.txt"),
    }
    first, second = (repository.path / "best_model.txt").read_text().splitlines()
    assert first == "iteration:3"
    assert second.startswith("acc:0.")
    lines = (repository.path / "best_model_test_1.txt").read_text().splitlines()
    assert lines[0] == "iteration:3"
    assert lines[2] == "test_name: test1"
    assert make_backend({"nclasses": 10}).trained


def test_snapshots_stay_and_superseded_bests_go(repository: Repository) -> None:
    over = solver(30, base_lr=0.02, snapshot=10, test_interval=1)
    told = trained(repository, over, measures=["acc"])
    accs = {each.iteration: each.points["acc"] for each in told}
    best = max(accs, key=lambda iteration: (accs[iteration], iteration))
    assert repository.best()["iteration"] == best
    kept = {point.iteration for point in repository.checkpoints()}
    assert kept == {10, 20, 30, best}
    assert all(point.solver for point in repository.checkpoints())


def test_without_a_measure_that_can_decide_there_is_no_best_model(repository: Repository) -> None:
    trained(repository, solver(2), measures=["mcll"])
    assert not any(name.startswith("best_model") for name in names(repository))


def test_the_first_measure_of_the_priority_decides() -> None:
    assert Best.of(1, {"acc": 0.9, "f1": 0.5}) == Best(1, "f1", 0.5)
    assert Best.of(1, {"mcll": 0.9}) is None
    assert Best.of(1, {"f1": float("nan"), "acc": 0.5}) == Best(1, "acc", 0.5)


@pytest.mark.parametrize(
    ("metric", "value", "before", "beats"),
    [
        *(("acc", 0.9, 0.8, True), ("acc", 0.8, 0.8, True), ("acc", 0.7, 0.8, False)),
        *(("eucll", 0.7, 0.8, True), ("eucll", 0.8, 0.8, True), ("eucll", 0.9, 0.8, False)),
    ],
)
def test_a_tie_is_an_improvement(metric: str, value: float, before: float, beats: bool) -> None:
    assert Best(2, metric, value).beats(Best(1, metric, before)) is beats


def test_best_models_are_read_again_after_a_break(repository: Repository) -> None:
    results = [{"acc": 0.5}, {"acc": 0.7}]
    models = BestModels(repository, ["a", "b"], resumed=False)
    models.write(models.offer(4, results))
    again = BestModels(repository, ["a", "b"], resumed=True)
    assert again.iterations == {4}
    assert again.offer(5, [{"acc": 0.4}, {"acc": 0.9}]) == [0, 2]
    assert BestModels(repository, ["a", "b"], resumed=False).iterations == set()
    assert repository.best() == {}


class Killed(BaseException):
    """The process ends here."""


class Mortal(Repository):
    """Dies at one of its changes of the disk, half of which has happened then."""

    left = 10**9

    def write(self, name: str, content: bytes) -> Path:
        self._count()
        return super().write(name, content)

    def remove(self, names: Iterable[str]) -> None:
        self._count()
        super().remove(names)

    def reach(self, iteration: int) -> None:
        self._count()
        super().reach(iteration)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def attempt(folder: Path, epoch: int, left: int = 10**9) -> Mortal:
    """The repository as an attempt's trainer has it, with so many changes to live."""
    fence = Fence(folder, "x/1", epoch)
    fence.claim()
    mortal = Mortal(folder, fence)
    mortal.left = left
    return mortal


BROKEN = solver(8, test_interval=4, snapshot=3, base_lr=0.02)


FOLLOWED = solver(8, test_interval=4, snapshot=3, lookahead=True, swa=True, swa_start=3)


@pytest.mark.parametrize(
    ("broken", "deaths_at"), [(BROKEN, range(28)), (FOLLOWED, range(3, 28, 6))]
)
def test_a_death_at_any_change_of_the_disk_is_survived(
    repository: Repository,
    traced: Path,
    tmp_path: Path,
    broken: dict[str, Any],
    deaths_at: range,
) -> None:
    whole = trained(repository, broken, measures=["acc"])
    expected = weights(repository.path / "checkpoint-8.pt")
    deaths = 0
    for left in deaths_at:
        folder = Repository.open(tmp_path / str(left), create=True)
        folder.write("tiny.pt", traced.read_bytes())
        try:
            trained(attempt(folder.path, 0, left), broken, measures=["acc"])
        except Killed:
            deaths += 1
        trainer = trainer_of(attempt(folder.path, 1), broken)
        told = list(trainer.fit(digits(), merged(RAW, broken), ["acc"]))
        history = {name: list(values) for name, values in trainer.history.items()}
        for each in told:
            for name, value in each.points.items():
                history.setdefault(name, []).append(value)
        for name in ("train_loss", "acc"):
            assert history[name] == [e.points[name] for e in whole if name in e.points], left
        assert told[-1].measures == whole[-1].measures
        assert folder.best() == repository.best()
        found = weights(folder.path / "checkpoint-8.pt")
        assert all(torch.equal(value, expected[name]) for name, value in found.items())
        assert names(folder) == names(repository) | {FENCE}, left
    assert len(deaths_at) / 2 < deaths < 28


def test_a_training_that_is_stopped_within_a_test_makes_that_test_when_it_goes_on(
    repository: Repository, traced: Path, tmp_path: Path
) -> None:
    whole = trained(repository, BROKEN, measures=["acc"])
    folder = Repository.open(tmp_path / "broken", create=True)
    folder.write("tiny.pt", traced.read_bytes())
    with closing(begun(attempt(folder.path, 0), BROKEN, measures=["acc"])) as told:
        assert _first_word_of_a_test(told) == 4
    trainer = trainer_of(attempt(folder.path, 1), BROKEN)
    rest = [e for e in trainer.fit(digits(), merged(RAW, BROKEN), ["acc"]) if e.points]
    assert len(trainer.history["train_loss"]) == 4
    assert "acc" not in trainer.history
    assert rest[0].measures == whole[3].measures
    assert [e.points["train_loss"] for e in rest[1:]] == [e.points["train_loss"] for e in whole[4:]]
    assert folder.best() == repository.best()


def test_checkpoints_come_by_the_clock_too_and_only_the_last_of_these_stays(
    repository: Repository,
) -> None:
    often = {"snapshot_interval": 1e-9, "test_interval": 100}
    with closing(begun(repository, solver(1000, **often))) as told:
        for each in told:
            assert f"checkpoint-{each.iteration}.pt" in names(repository)
            if each.iteration == 5:
                break
    assert [point.iteration for point in repository.checkpoints()] == [5]


def test_a_user_who_resumes_finds_the_history_of_the_checkpoint(repository: Repository) -> None:
    first = trained(repository, solver(6, snapshot=2, test_interval=2), measures=["acc"])
    trainer = trainer_of(repository)
    raw = merged(RAW, {**solver(8), "resume": True})
    list(trainer.fit(digits(), raw, ["acc"]))
    assert list(trainer.history["train_loss"]) == [e.points["train_loss"] for e in first]
    assert len(trainer.history["acc"]) == 3


def test_chance_goes_on_where_it_was() -> None:
    cpu = torch.device("cpu")
    kept = states(cpu)

    def draws() -> list[float]:
        numbers = np.random.random(), random.random(), float(torch.rand(()))
        return list(numbers)

    drawn = draws()
    assert draws() != drawn
    restore(kept, cpu)
    assert draws() == drawn
