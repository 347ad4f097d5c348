"""The course of the learning rate: a function of the iteration alone, so that nothing is kept."""

from __future__ import annotations

import math

from ddstream.api.solver import Solver


def rate(solver: Solver, iteration: int) -> float:
    """The learning rate of an iteration, counted from 0.

    `step`: times `lr_gamma` every `lr_step` iterations. `cosine`: down to `lr_min` over the
    iterations after the warmup (Loshchilov and Hutter 2017). A warmup goes before either.
    """
    warm = _warmup(solver)
    if iteration < warm:
        return solver.base_lr * (iteration + 1) / warm
    if solver.lr_policy == "step":
        every = solver.lr_step or max(1, math.ceil(solver.iterations / 3))
        return solver.base_lr * float(solver.lr_gamma ** (iteration // every))
    if solver.lr_policy == "cosine":
        part = min(1.0, (iteration - warm) / max(1, solver.iterations - warm))
        lowest = min(solver.lr_min, solver.base_lr)
        return lowest + (solver.base_lr - lowest) * (1 + math.cos(math.pi * part)) / 2
    return solver.base_lr


def _warmup(solver: Solver) -> int:
    if solver.lr_warmup or solver.lr_policy != "warmup":
        return solver.lr_warmup
    return max(1, solver.iterations // 20)
