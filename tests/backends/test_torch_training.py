"""Trainings: steps as a bare loop makes them, tests, measures, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import optim
from torch.nn import functional

from ddstream.backends.torch.backend import TorchBackend
from ddstream.connectors import CONNECTORS
from ddstream.data import Batch, Datasets, Progress
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend, MakeSetup
from tests.backends.digit_sets import DigitSet, digit_set, digits
from tests.backends.trainings import begun, trained, trainer_of, weights
from tests.digits import write_digits

Parameters = Iterable[torch.nn.Parameter]
REFERENCES: dict[str, Callable[[Parameters], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "ADAM": lambda p: optim.Adam(p, lr=0.01),
    "ADAMW": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.01),
    "RADAM": lambda p: optim.RAdam(p, lr=0.01),
    "RMSPROP": lambda p: optim.RMSprop(p, lr=0.01),
    "ADAGRAD": lambda p: optim.Adagrad(p, lr=0.01),
}


def in_order(count: int = 24) -> Datasets:
    """Digits in the order of their numbers, not varied."""
    train = replace(digit_set("train", 0, count), varied=False)
    return replace(digits(), train=train, shuffle=False)


def bare(path: Path, make: Callable[[Parameters], optim.Optimizer], steps: list[slice]) -> Any:
    """Weights after a plain PyTorch loop over slices of the first digits."""
    model = torch.jit.load(path).train()  # type: ignore[no-untyped-call]
    optimizer = make(model.parameters())
    train = digit_set("train", 0, 24)
    images = torch.from_numpy(train.images).permute(0, 3, 1, 2) / 16
    targets = torch.tensor(np.array(train.targets))
    for step in steps:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images[step]), targets[step])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.state_dict()


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.promise(
    "train.torch.solver.solver_type", "train.torch.solver.base_lr", "train.torch.net.batch_size"
)
@pytest.mark.parametrize("name", REFERENCES)
def test_a_solver_steps_as_in_a_bare_loop(repository: Repository, traced: Path, name: str) -> None:
    solver = {"solver_type": name, "base_lr": 0.01, "iterations": 4}
    found = trained(repository, {"solver": solver}, in_order())
    thrice = [slice(0, 8), slice(8, 16), slice(16, 24), slice(0, 8)]
    assert_same(
        weights(repository.path / "checkpoint-4.pt"), bare(traced, REFERENCES[name], thrice)
    )
    assert [each.points["learning_rate"] for each in found] == [0.01] * 4


@pytest.mark.promise("train.torch.solver.iter_size")
def test_iter_size_adds_up_gradients_of_several_batches(
    repository: Repository, traced: Path
) -> None:
    over = {"solver": {"iterations": 2, "iter_size": 3, "base_lr": 0.01}, "net": {"batch_size": 4}}
    found = trained(repository, over, in_order())
    assert len(found) == 2
    expected = bare(traced, REFERENCES["SGD"], [slice(0, 12), slice(12, 24)])
    assert_same(weights(repository.path / "checkpoint-2.pt"), expected)


def test_solver_options_reach_the_solver(repository: Repository, traced: Path) -> None:
    options = {"base_lr": 0.01, "momentum": 0.5, "weight_decay": 0.1, "iterations": 3}
    trained(repository, {"solver": options}, in_order())
    expected = bare(
        traced,
        lambda p: optim.SGD(p, lr=0.01, momentum=0.5, weight_decay=0.1),
        [slice(0, 8), slice(8, 16), slice(16, 24)],
    )
    assert_same(weights(repository.path / "checkpoint-3.pt"), expected)


def test_gradients_are_clipped(repository: Repository, traced: Path) -> None:
    over = {"solver": {"iterations": 1, "base_lr": 1.0, "clip_norm": 0.001}}
    before = weights(traced)
    trained(repository, over, in_order())
    after = weights(repository.path / "checkpoint-1.pt")
    moved = sum(float((after[name] - before[name]).pow(2).sum()) for name in before) ** 0.5
    assert moved == pytest.approx(0.001, rel=1e-2)


@pytest.mark.parametrize("name", ["sgd", "LION"])
def test_an_unknown_solver_is_refused_with_those_that_exist(
    repository: Repository, traced: Path, name: str
) -> None:
    with pytest.raises(ParameterError, match=f"solver_type {name} is unknown; there is: SGD, ADAM"):
        trained(repository, {"solver": {"solver_type": name}})


@pytest.mark.usefixtures("traced")
@pytest.mark.promise("train.torch.solver.iterations", "train.torch.solver.test_interval")
def test_tests_come_at_their_interval_and_at_the_end(repository: Repository) -> None:
    solver = {"iterations": 5, "test_interval": 2}
    found = trained(repository, {"solver": solver}, measures=["acc"])
    assert [each.iteration for each in found] == [1, 2, 3, 4, 5]
    assert [each.iteration for each in found if each.measures] == [2, 4, 5]
    assert [each.iteration for each in found if "acc" in each.points] == [2, 4, 5]


@pytest.mark.usefixtures("traced")
def test_iterations_are_mandatory(repository: Repository) -> None:
    with pytest.raises(ParameterError, match=r"solver\.iterations: field required"):
        trained(repository, {"solver": {"iterations": None}})


@pytest.mark.usefixtures("traced")
@pytest.mark.promise("train.output.measure")
def test_each_test_set_has_its_measures(repository: Repository) -> None:
    found = trained(repository, measures=["acc", "cmdiag", "f1"], data=digits(sets=2))[-1]
    assert found.measures is not None
    first, second = found.measures
    assert (first["test_id"], first["test_name"]) == (0, "test0")
    assert (second["test_id"], second["test_name"]) == (1, "test1")
    assert first["iteration"] == 4.0
    assert first["train_loss"] == found.points["train_loss"]
    mean = (first["acc"] + second["acc"]) / 2
    assert found.points["acc"] == pytest.approx(mean)
    assert found.points["acc_test1"] == second["acc"]
    assert found.points["cmdiag_test0_3"] == first["cmdiag"][3]
    assert found.points["cmdiag_3"] == pytest.approx((first["cmdiag"][3] + second["cmdiag"][3]) / 2)
    assert not {"mcll", "iteration", "test_id", "cmdiag"} & set(found.points)


@pytest.mark.usefixtures("traced")
def test_a_model_learns_to_read_digits(repository: Repository) -> None:
    over = {"solver": {"iterations": 80, "solver_type": "ADAM", "base_lr": 0.01}}
    data = replace(digits(train=400, test=100), train=digit_set("train", 0, 400))
    found = trained(repository, over | {"net": {"batch_size": 32}}, data)[-1]
    assert found.points["acc"] > 0.85
    assert repository.classes() == [str(digit) for digit in range(10)]


@pytest.mark.usefixtures("traced")
def test_live_values_tell_where_a_training_is(repository: Repository) -> None:
    found = trained(repository, {"solver": {"test_interval": 2}})
    first, second, third, last = (each.live for each in found)
    assert first["iteration"] == 0.0
    assert second["iteration"] == 2.0
    assert third["iteration"] == 2.0
    assert last["iteration"] == 4.0
    assert first["test_names"] == {"0": "test0"}
    assert first["batch_duration_ms"] == first["iter_time"] == first["iteration_duration_ms"]
    assert first["remain_time"] > last["remain_time"] == 0.0
    assert last["remain_time_str"] == "0d:0h:0m:0s"
    assert set(found[0].points) == {"elapsed_time_ms", "learning_rate", "train_loss"}
    assert third["acc"] == second["acc"]
    times = [each.points["elapsed_time_ms"] for each in found]
    assert times == sorted(times)


@pytest.mark.usefixtures("traced")
def test_a_test_says_how_far_it_is(repository: Repository) -> None:
    told = [each.live for each in begun(repository) if not each.points]
    assert told[0]["test_active"] == 1.0
    assert told[0]["test_processed"] == 8.0
    assert (told[0]["test_total"], told[0]["test_sets_total"]) == (20.0, 1.0)


@pytest.mark.usefixtures("traced")
@pytest.mark.promise("train.torch.net.test_batch_size")
def test_a_test_batch_is_as_large_as_a_training_batch_unless_said(repository: Repository) -> None:
    assert _first_test_batch(repository, {"net": {"batch_size": 8}}) == 8.0
    over = {"net": {"batch_size": 8, "test_batch_size": 5}, "resume": True}
    assert _first_test_batch(repository, over | {"solver": {"iterations": 5}}) == 5.0


def _first_test_batch(repository: Repository, over: dict[str, Any]) -> float:
    live = [each.live for each in begun(repository, over) if not each.points]
    return float(live[0]["test_processed"])


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("over", "text"),
    [
        ({"class_weights": [1.0, 2.0]}, "class_weights has 2 values for 10 classes"),
        ({"loss": "dice"}, "unknown loss dice"),
        ({"nclasses": 0, "ntargets": 10, "loss": "huber"}, "unknown loss huber"),
        ({"nclasses": 5}, "target class has id 9 is higher than the number of classes 5"),
        ({"solver": {"lr_policy": "poly"}}, "lr_policy: there is: fixed, step, cosine, warmup"),
        ({"datatype": "fp16"}, "fp16 inference can be done only on GPU"),
        ({"template": "resnet18"}, "Only one of these must be provided"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    repository: Repository, over: dict[str, Any], text: str
) -> None:
    with pytest.raises(ParameterError, match=text):
        trained(repository, over)


@pytest.mark.usefixtures("traced")
def test_data_that_cannot_be_trained_on_is_refused(repository: Repository) -> None:
    with pytest.raises(ParameterError, match="empty test dataset"):
        trained(repository, data=replace(digits(), tests=[]))
    with pytest.raises(ParameterError, match="No data found in training dataset"):
        trained(repository, data=digits(train=0))


@pytest.mark.usefixtures("traced")
def test_class_weights_weigh_the_loss(repository: Repository) -> None:
    over = {"class_weights": [0.01] * 3 + [1] + [0.01] * 6, "solver": {"iterations": 30}}
    found = trained(repository, over, measures=["f1", "cmdiag"])[-1]
    assert found.measures is not None
    assert found.measures[0]["cmdiag"][3] == pytest.approx(1.0)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("loss", "expected"), [("", "l1"), ("L1", "l1"), ("L2", "l2")])
def test_a_regression_has_its_losses(repository: Repository, loss: str, expected: str) -> None:
    train = digit_set("train", 0, 8)
    rows = [np.full(10, float(target), np.float32) for target in np.array(train.targets)]
    data = Datasets(replace(train, targets=rows, varied=False), [replace(train, targets=rows)])
    over = {"nclasses": 0, "ntargets": 10, "loss": loss, "solver": {"iterations": 1}}
    first = trained(repository, over, data)[0]
    model = torch.jit.load(repository.path / "tiny.pt")  # type: ignore[no-untyped-call]
    images = torch.from_numpy(train.images).permute(0, 3, 1, 2) / 16
    differences = (model(images) - torch.tensor(np.stack(rows))).detach().numpy()
    losses = {"l1": np.abs(differences).mean(), "l2": np.square(differences).mean()}
    assert first.points["train_loss"] == pytest.approx(losses[expected], rel=1e-5)
    assert "eucll" in first.points


@pytest.mark.usefixtures("traced")
@pytest.mark.promise("services.torch.multi_label")
def test_a_multi_label_model_learns_rows_of_labels(repository: Repository) -> None:
    def labelled(name: str, start: int, count: int) -> DigitSet:
        plain = digit_set(name, start, count)
        ids = np.array(plain.targets)
        rows = [np.array([*np.eye(9)[t % 9], t > 4], np.float32) for t in ids]
        return replace(plain, targets=rows)

    data = Datasets(labelled("train", 0, 200), [labelled("test", 1000, 50)], shuffle=True, seed=1)
    over = {
        "multi_label": True,
        "solver": {"iterations": 60, "solver_type": "ADAM", "base_lr": 0.01},
        "net": {"batch_size": 32},
    }
    with pytest.raises(ParameterError, match="several labels or numbers a sample, but neither"):
        trained(repository, {"multi_label": False}, data)
    found = trained(repository, over, data, ["acc", "kl"])[-1]
    assert found.points["f1"] > 0.7
    assert "kl_divergence" in found.points


@pytest.mark.usefixtures("traced")
def test_targets_of_another_number_are_refused(repository: Repository) -> None:
    rows = [np.zeros(3, np.float32)] * 40
    data = digits()
    data = replace(data, train=replace(digit_set("train", 0, 40), targets=rows), classes=())
    with pytest.raises(ParameterError, match="the data has 3 targets, the model 10"):
        trained(repository, {"nclasses": 0, "ntargets": 10}, data)


@pytest.mark.usefixtures("traced")
def test_a_loss_that_is_not_finite_ends_the_training(repository: Repository) -> None:
    over = {"solver": {"iterations": 50, "snapshot": 1, "base_lr": 1e30}}
    done: list[Progress] = []
    with pytest.raises(ParameterError, match=r"has diverged, with solver\.base_lr 1e\+30"):
        done.extend(begun(repository, over))
    # A list that fails to be extended keeps what came before.
    assert repository.checkpoints()[-1].iteration == done[-1].iteration


def test_warnings_name_what_was_ignored(repository: Repository, traced: Path) -> None:
    over = {"colour": 1, "solver": {"gamma": 0.1, "momentum": 0.9, "solver_type": "ADAM"}}
    raw = {"nclasses": 10, "net": {"batch_size": 8}, **over}
    raw["solver"] = {"iterations": 1, **over["solver"]}  # type: ignore[dict-item]
    trainer = trainer_of(repository)
    list(trainer.fit(digits(), raw, ["acc", "eucll"]))
    assert trainer.warnings == [
        "parameters.mllib.colour is unknown and was ignored",
        "parameters.mllib.solver.gamma is unknown and was ignored",
        "parameters.mllib.solver.momentum was ignored: ADAM has none",
        "parameters.output.measure eucll is no measure of classification",
    ]


def test_an_unsupervised_service_cannot_be_trained(make_setup: MakeSetup) -> None:
    with pytest.raises(ParameterError, match="an unsupervised service cannot be trained"):
        TorchBackend.trainer(make_setup({"template": "resnet18"}, service_type="unsupervised"))


@pytest.mark.promise("backends.torch", "templates.resnet18")
def test_a_resnet_is_trained_on_files_and_predicts(
    repository: Repository, make_setup: MakeSetup, make_backend: MakeBackend, tmp_path: Path
) -> None:
    folders = write_digits(tmp_path, train=4, test=2)
    given = {"width": 32, "height": 32, "shuffle": True, "seed": 1, "scale": 1 / 255}
    connector = CONNECTORS.load("image")(given, repository)
    raw = {
        "template": "resnet18",
        "nclasses": 10,
        "solver": {"iterations": 4, "solver_type": "ADAM", "base_lr": 0.001},
        "net": {"batch_size": 8},
    }
    data = connector.datasets(folders, raw)
    found = list(TorchBackend.trainer(make_setup(raw)).fit(data, raw, ["acc"]))
    backend = make_backend(raw)
    assert backend.trained
    tests = [data.tests[0].read(index, None) for index in range(20)]
    call = backend.call_parameters(raw)
    scores = backend.task(call).activate(backend.forward(Batch.of(tests), call))
    right = np.mean(np.argmax(scores, axis=1) == np.array([sample.target for sample in tests]))
    assert right == pytest.approx(found[-1].points["acc"])
