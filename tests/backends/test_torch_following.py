"""Solvers within a training: what goes on after a break, what is tested and kept, half numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from ddstream.backends.torch.training.solvers import SOLVERS
from ddstream.data import Batch
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend
from tests.backends.digit_sets import digit_set, digits
from tests.backends.test_torch_training import in_order
from tests.backends.trainings import begun, trained, trainer_of, weights

pytestmark = pytest.mark.usefixtures("traced")

WAYS: dict[str, dict[str, Any]] = {
    **{name: {"solver_type": name} for name in SOLVERS},
    "slow": {"solver_type": "ADAM", "lookahead": True, "lookahead_steps": 2},
    "average": {"solver_type": "SGD", "swa": True, "swa_start": 2},
    "both": {"solver_type": "MADGRAD", "swa": True, "swa_start": 1, "lookahead_steps": 3},
    "sharpness": {"solver_type": "ADAM", "sam": True},
    "cosine": {"solver_type": "SGD", "lr_policy": "cosine", "lr_warmup": 2},
}


@pytest.fixture
def twin(traced: Path, tmp_path: Path) -> Repository:
    """Another repository with the same model."""
    other = Repository.open(tmp_path / "twin", create=True)
    other.write("tiny.pt", traced.read_bytes())
    return other


def ways(name: str, iterations: int) -> dict[str, Any]:
    options = {"base_lr": 0.01, "test_interval": 3, **WAYS[name]}
    return {"solver": {**options, "iterations": iterations}}


@pytest.mark.parametrize("name", WAYS)
def test_a_break_changes_nothing(repository: Repository, twin: Repository, name: str) -> None:
    whole = trained(repository, ways(name, 8))
    told = begun(twin, ways(name, 8))
    first = [next(each for each in told if each.points) for _ in range(4)]
    told.close()
    rest = trained(twin, {**ways(name, 8), "resume": True})
    found = [*first, *rest]
    for point in ("train_loss", "learning_rate", "acc"):
        expected = [each.points.get(point) for each in whole]
        assert [each.points.get(point) for each in found] == expected
    expected_weights = weights(repository.path / "checkpoint-8.pt")
    for weight, value in weights(twin.path / "checkpoint-8.pt").items():
        assert torch.equal(value, expected_weights[weight])


def test_the_average_of_the_weights_is_tested_and_kept(
    repository: Repository, twin: Repository, make_backend: MakeBackend
) -> None:
    plain = {"base_lr": 0.05, "test_interval": 2}
    trained(twin, {"solver": {**plain, "iterations": 6, "snapshot": 1}})
    averaged = {**plain, "swa": True, "swa_start": 3}
    told = trained(repository, {"solver": {**averaged, "iterations": 6}})
    paths = [weights(twin.path / f"checkpoint-{number}.pt") for number in (4, 5, 6)]
    found = weights(repository.path / "checkpoint-6.pt")
    for name, value in found.items():
        mean = torch.stack([each[name] for each in paths]).mean(0)
        torch.testing.assert_close(value, mean, rtol=1e-5, atol=1e-6)
        assert not torch.equal(value, paths[-1][name])
    # The measure is of the weights that a service gets.
    backend = make_backend({"nclasses": 10})
    tests = digits().tests[0]
    samples = [tests.read(index, None) for index in range(len(tests))]
    right = _share_of_right(backend, samples, {"nclasses": 10})
    assert right == pytest.approx(told[-1].points["acc"])


def _share_of_right(backend: Any, samples: Any, mllib: Any) -> float:
    outputs = backend.forward(Batch.of(samples), backend.call_parameters(mllib))["output"]
    targets = [sample.target for sample in samples]
    return float((outputs.argmax(1) == targets).mean())


def test_sam_steps_by_the_gradient_of_the_worst_place(repository: Repository, traced: Path) -> None:
    over = {"solver": {"iterations": 1, "base_lr": 0.1, "sam": True, "sam_rho": 0.2}}
    (first,) = trained(repository, over, in_order())
    model = torch.jit.load(traced).train()  # type: ignore[no-untyped-call]
    train = digit_set("train", 0, 8)
    images = torch.from_numpy(train.images).permute(0, 3, 1, 2) / 16
    targets = torch.tensor(list(train.targets))

    def gradients() -> list[torch.Tensor]:
        loss = functional.cross_entropy(model(images), targets)
        assert first.points["train_loss"] <= loss.item() + 1e-6
        return list(torch.autograd.grad(loss, parameters))

    parameters = list(model.parameters())
    near = gradients()
    norm = torch.stack([each.norm() for each in near]).norm()
    start = [each.detach().clone() for each in parameters]
    with torch.no_grad():
        for parameter, gradient in zip(parameters, near, strict=True):
            parameter += 0.2 * gradient / norm
    expected = [a - 0.1 * g for a, g in zip(start, gradients(), strict=True)]
    found = weights(repository.path / "checkpoint-1.pt")
    for (name, _), value in zip(model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_the_learning_rate_is_told_as_it_falls(repository: Repository) -> None:
    solver = {"iterations": 4, "base_lr": 0.1, "lr_policy": "step", "lr_step": 2}
    told = trained(repository, {"solver": solver})
    rates = [0.1, 0.1, 0.01, 0.01]
    assert [each.points["learning_rate"] for each in told] == pytest.approx(rates)
    assert [each.live["learning_rate"] for each in told] == pytest.approx(rates)


def test_a_training_computes_in_half_numbers_and_keeps_whole_ones(
    repository: Repository, twin: Repository
) -> None:
    over = {"solver": {"iterations": 30, "solver_type": "ADAM", "base_lr": 0.01}}
    whole = trained(repository, over)
    half = trained(twin, {**over, "datatype": "bf16"})
    losses = [[each.points["train_loss"] for each in told] for told in (whole, half)]
    assert losses[0] != losses[1]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.02)
    assert losses[1][-1] < losses[1][0] / 2
    kept = weights(twin.path / "checkpoint-30.pt").values()
    assert {value.dtype for value in kept} == {torch.float32}


def test_half_numbers_that_a_device_lacks_are_refused(repository: Repository) -> None:
    trainer = trainer_of(repository)
    raw = {"nclasses": 10, "datatype": "fp16", "solver": {"iterations": 1}}
    with pytest.raises(ParameterError, match="fp16 inference can be done only on GPU"):
        trainer.fit(digits(), raw, ())
