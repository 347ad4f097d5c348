"""Solvers: each finds a minimum, and steps as its paper says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_optimizer import AdaBelief, AdamP
from pytorch_optimizer import Lookahead as LookaheadOfALibrary
from torch import nn, optim

from ddstream.api.solver import Solver
from ddstream.backends.torch.training.following import Average, Lookahead
from ddstream.backends.torch.training.schedule import rate
from ddstream.backends.torch.training.sharpness import uphill
from ddstream.backends.torch.training.solvers import SOLVERS, clip, make_solver, resumed, unused

RATES = {"SGD": 0.1, "RMSPROP": 0.02, "MADGRAD": 0.05}
"""Where it is not 0.2."""


def options(**given: Any) -> Solver:
    return Solver.model_validate({"iterations": 300, **given})


class Bowl:
    """A convex problem: the distance of a linear map of 4 x 3 numbers to what it should give."""

    def __init__(self, *shape: int) -> None:
        generator = torch.Generator().manual_seed(3)
        begin, self._least = torch.randn(2, 4, 3, generator=generator)
        self.weight = nn.Parameter(begin.reshape(shape or (4, 3)))
        self._map = torch.eye(4) + 0.3 * torch.randn(4, 4, generator=generator)

    def loss(self) -> torch.Tensor:
        away: torch.Tensor = self._map @ (self.weight.reshape(4, 3) - self._least)
        return away.square().sum()

    def descend(self) -> torch.Tensor:
        self.weight.grad = None
        self.loss().backward()  # type: ignore[no-untyped-call]
        return self.weight

    def path(self, optimizer: optim.Optimizer, steps: int = 12) -> torch.Tensor:
        """The weights after each step."""
        found = []
        for _ in range(steps):
            self.descend()
            optimizer.step()
            found.append(self.weight.detach().clone())
        return torch.stack(found)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_finds_the_minimum_of_a_convex_problem(name: str) -> None:
    # A vector: centred gradients of a matrix are blind for the means of its rows.
    bowl = Bowl(12)
    solver = options(solver_type=name, base_lr=RATES.get(name, 0.2))
    optimizer = make_solver([bowl.weight], solver)
    slow = Lookahead([bowl.weight], solver)
    began = bowl.loss().item()
    for iteration in range(solver.iterations):
        bowl.descend()
        clip([bowl.weight], solver)
        optimizer.step()
        if solver.looks_ahead:
            slow.follow(iteration)
    assert bowl.loss().item() < began / 1000


Make = Callable[[nn.Parameter], optim.Optimizer]
PLAIN = {"rectified": False, "lookahead": False}
TWINS: dict[str, tuple[dict[str, Any], Make]] = {
    "rectified": ({}, lambda p: optim.RAdam([p], 0.05)),
    "plain": (PLAIN, lambda p: optim.Adam([p], 0.05)),
    "decay": (PLAIN | {"weight_decay": 0.1}, lambda p: optim.Adam([p], 0.05, weight_decay=0.1)),
    "decoupled": (
        PLAIN | {"weight_decay": 0.1, "decoupled_wd": True},
        lambda p: optim.AdamW([p], 0.05, weight_decay=0.1),
    ),
    "adabelief": (PLAIN | {"adabelief": True}, lambda p: AdaBelief([p], 0.05, eps=1e-8)),
    "adamp": (
        PLAIN | {"adamp": True, "weight_decay": 0.1},
        lambda p: AdamP([p], 0.05, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_ranger_steps_as_the_solvers_that_it_is_made_of(name: str) -> None:
    given, make = TWINS[name]
    ours, theirs = Bowl(), Bowl()
    found = ours.path(
        make_solver([ours.weight], options(solver_type="RANGER", base_lr=0.05, **given))
    )
    # AdaBelief there adds its epsilon to what it keeps, ours to what it uses.
    within = 1e-2 if name == "adabelief" else 1e-4
    expected = theirs.path(make(theirs.weight))
    torch.testing.assert_close(found, expected, rtol=within, atol=within / 10)


def test_adamp_takes_no_step_along_weights_whose_scale_means_nothing() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    optimizer = make_solver([weight], options(solver_type="RANGER", adamp=True, base_lr=0.1))
    before = weight.detach().clone()
    # At a right angle to each row.
    weight.grad = torch.tensor([[1e-6, 1.0], [1.0, 1e-6]])
    optimizer.step()
    moved = weight.detach() - before
    assert (moved * before).sum(1).abs().max() < 1e-6
    assert moved.abs().max() > 0.05


def test_centred_gradients_have_no_mean() -> None:
    ours, theirs = Bowl(), Bowl()
    solver = options(solver_type="RANGER", gradient_centralization=True, rectified=False)
    optimizer, adam = make_solver([ours.weight], solver), optim.Adam([theirs.weight], 1e-4)
    ours.descend()
    theirs.descend()
    assert theirs.weight.grad is not None
    theirs.weight.grad -= theirs.weight.grad.mean(1, keepdim=True)
    optimizer.step()
    adam.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_ranger_plus_is_ranger_with_belief_and_centred_gradients() -> None:
    plus, same = Bowl(), Bowl()
    extras = {"adabelief": True, "gradient_centralization": True}
    ours = plus.path(make_solver([plus.weight], options(solver_type="RANGER_PLUS")))
    theirs = same.path(make_solver([same.weight], options(solver_type="RANGER", **extras)))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_madgrad_steps_by_its_formula(momentum: float) -> None:
    bowl = Bowl()
    solver = options(solver_type="MADGRAD", base_lr=0.01, momentum=momentum, weight_decay=0.1)
    optimizer = make_solver([bowl.weight], solver)
    start = bowl.weight.detach().double().numpy().copy()
    place, total, squares = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step in range(8):
        bowl.descend()
        assert bowl.weight.grad is not None
        gradient = bowl.weight.grad.double().numpy() + 0.1 * place
        factor = 0.01 * np.sqrt(step + 1)
        total += factor * gradient
        squares += factor * gradient**2
        target = start - total / (np.cbrt(squares) + 1e-6)
        place = momentum * place + (1 - momentum) * target
        optimizer.step()
        np.testing.assert_allclose(bowl.weight.detach().numpy(), place, rtol=2e-3, atol=2e-4)


def test_slow_weights_follow_and_the_fast_ones_begin_there_again() -> None:
    ours, theirs = Bowl(), Bowl()
    solver = options(base_lr=0.1, lookahead=True, lookahead_steps=3, lookahead_alpha=0.3)
    optimizer, slow = make_solver([ours.weight], solver), Lookahead([ours.weight], solver)
    twin = LookaheadOfALibrary(optim.SGD([theirs.weight], 0.1), k=3, alpha=0.3)
    for iteration in range(9):
        ours.descend()
        theirs.descend()
        optimizer.step()
        slow.follow(iteration)
        twin.step()
        torch.testing.assert_close(ours.weight, theirs.weight)


def test_the_average_is_of_the_weights_after_each_iteration_from_its_start_on() -> None:
    module = nn.Linear(3, 1)
    average = Average(module, options(swa=True, swa_start=2))
    seen = []
    for iteration in range(6):
        nn.init.constant_(module.weight, iteration**2)
        average.follow(iteration)
        seen.append(float(iteration**2))
        with average.shown():
            shown = module.weight[0, 0].item()
        assert shown == pytest.approx(np.mean(seen[2:]) if iteration >= 2 else seen[-1])
        assert module.weight[0, 0].item() == seen[-1]
    assert options(swa=True).averages_from == 225


def test_sam_gives_the_gradient_of_the_worst_place_near() -> None:
    bowl = Bowl()
    module = nn.ParameterList([bowl.weight])
    start = bowl.descend().detach().clone()
    assert bowl.weight.grad is not None
    gradient = bowl.weight.grad.clone()
    with uphill(module, [bowl.weight], rho=0.5):
        torch.testing.assert_close(bowl.weight.detach() - start, gradient * 0.5 / gradient.norm())
        expected = torch.autograd.grad(bowl.loss(), bowl.weight)[0]
        bowl.descend()
    assert torch.equal(bowl.weight, start)
    torch.testing.assert_close(bowl.weight.grad, expected)
    assert not torch.allclose(expected, gradient)


def test_sam_leaves_the_statistics_of_batches_alone() -> None:
    module = nn.BatchNorm1d(2).train()
    module(torch.randn(5, 2)).square().sum().backward()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with uphill(module, list(module.parameters()), rho=0.1):
        module(torch.randn(5, 2))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("given", "clips"),
    [
        ({}, False),
        ({"clip": True}, True),
        ({"clip_norm": 1.0}, True),
        ({"clip_norm": 1.0, "clip": False}, False),
        *(({"solver_type": name}, True) for name in ("RANGER", "RANGER_PLUS", "MADGRAD")),
        ({"solver_type": "RANGER", "clip": False}, False),
        ({"solver_type": "RANGER", "sam": True}, False),
        ({"solver_type": "RANGER", "sam": True, "clip": True}, True),
    ],
)
def test_who_clips_gradients(given: dict[str, Any], clips: bool) -> None:
    weight = nn.Parameter(torch.zeros(1000))
    weight.grad = torch.full((1000,), 50.0)
    clip([weight], options(**given))
    assert (float(weight.grad.max()) < 50) is clips


def test_options_that_do_nothing_are_warned_of() -> None:
    given = {"solver_type": "MADGRAD", "beta1": 0.8, "sam_rho": 0.1, "swa_start": 3, "lr_gamma": 1}
    where = "parameters.mllib.solver"
    assert unused(options(**given)) == [
        f"{where}.beta1 was ignored: MADGRAD has none",
        f"{where}.swa_start was ignored without swa",
        f"{where}.sam_rho was ignored without sam",
        f"{where}.lr_gamma was ignored without lr_policy step",
    ]
    assert unused(options(solver_type="RANGER", adamp=True, lookahead_steps=3, clip_norm=1)) == []


@pytest.mark.parametrize("name", SOLVERS)
def test_the_state_of_a_solver_goes_on_and_the_new_options_count(name: str) -> None:
    whole, broken = Bowl(), Bowl()
    solver = options(solver_type=name, base_lr=0.01)
    expected = whole.path(make_solver([whole.weight], solver))
    first = make_solver([broken.weight], solver)
    broken.path(first, 5)
    second = make_solver([broken.weight], solver)
    resumed(second, first.state_dict())
    assert torch.equal(broken.path(second, 7), expected[5:])
    third = make_solver([broken.weight], options(solver_type=name, base_lr=0.5))
    resumed(third, first.state_dict())
    assert third.param_groups[0]["lr"] == 0.5


def course(solver: Solver, count: int = 40) -> list[float]:
    return [rate(solver, iteration) for iteration in range(count)]


def reference(make: Callable[[optim.Optimizer], optim.lr_scheduler.LRScheduler]) -> list[float]:
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, found = make(optimizer), []
    for _ in range(40):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def test_the_learning_rate_has_its_course() -> None:
    base = {"iterations": 40, "base_lr": 0.1}
    assert course(options(**base)) == [0.1] * 40
    step = options(**base, lr_policy="step", lr_step=7, lr_gamma=0.5)
    assert course(step) == pytest.approx(reference(lambda o: optim.lr_scheduler.StepLR(o, 7, 0.5)))
    cosine = options(**base, lr_policy="cosine", lr_min=0.01)
    twin = reference(lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 40, eta_min=0.01))
    assert course(cosine) == pytest.approx(twin)
    warm = options(**base, lr_policy="warmup", lr_warmup=8)
    rising = reference(lambda o: optim.lr_scheduler.LinearLR(o, 1 / 8, total_iters=7))
    assert course(warm) == pytest.approx(rising)
    assert course(options(**base, lr_policy="warmup"))[:3] == [0.05, 0.1, 0.1]


def test_a_warmup_goes_before_any_policy() -> None:
    solver = options(iterations=40, base_lr=0.1, lr_policy="cosine", lr_warmup=10)
    found = course(solver, 41)
    assert found[:11] == pytest.approx([*(0.01 * (i + 1) for i in range(10)), 0.1])
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[40] == pytest.approx(0.0, abs=1e-9)
    assert course(options(iterations=9, base_lr=1, lr_policy="step"), 9) == pytest.approx(
        [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    )
