"""Ranger: Adam with rectified steps and, if asked for, belief, centred gradients and projections.

RAdam: Liu et al. 2020; AdaBelief: Zhuang et al. 2020; gradient centralisation: Yong et al. 2020;
AdamP: Heo et al. 2021; decoupled decay: Loshchilov and Hutter 2019. No library has them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import optim

EPSILON = 1e-8
DELTA, PART = 0.1, 0.1
"""AdamP: how near to a right angle gradients must be, and what part of the decay is left then."""
TRUSTED = 5.0
"""Length of memory from which on the second moment is trusted."""


class Ranger(optim.Optimizer):
    """One step of all weights by their gradients; what looks ahead is not here (see Lookahead)."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], lr: float, **options: Any) -> None:
        """`options`: betas, weight_decay, and as flags rectified, adabelief, centred, adamp,
        decoupled."""
        super().__init__(parameters, {"lr": lr, **options})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the weights that have gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._change(weight, group)

    def _change(self, weight: torch.nn.Parameter, group: dict[str, Any]) -> None:
        gradient = _gradient(weight, group)
        beta1, beta2 = group["betas"]
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "m": gradient * 0, "v": gradient * 0}
        state["step"] += 1
        step, m, v = int(state["step"]), state["m"], state["v"]
        m.lerp_(gradient, 1 - beta1)
        surprise = gradient - m if group["adabelief"] else gradient
        v.mul_(beta2).addcmul_(surprise, surprise, value=1 - beta2)
        scale = rectification(beta2, step) if group["rectified"] else 1.0
        update = m / (1 - beta1**step)
        if scale is not None:
            within = EPSILON if group["adabelief"] else 0.0
            size = (v + within).sqrt_().div_(math.sqrt(1 - beta2**step)).add_(EPSILON)
            update.div_(size).mul_(scale)
        self._move(weight, update, group)

    def _move(
        self, weight: torch.nn.Parameter, update: torch.Tensor, group: dict[str, Any]
    ) -> None:
        rate, decay = group["lr"], group["weight_decay"]
        left = 1.0
        if group["adamp"] and weight.dim() > 1:
            assert weight.grad is not None
            update, left = projected(weight, weight.grad, update)
        if group["decoupled"] or group["adamp"]:
            weight.mul_(1 - rate * decay * left)
        weight.add_(update, alpha=-rate)


def rectification(beta2: float, step: int) -> float | None:
    """RAdam's factor of a step; None while the second moment is not to be trusted."""
    most = 2 / (1 - beta2) - 1
    length = most - 2 * step * beta2**step / (1 - beta2**step)
    if length <= TRUSTED:
        return None
    above = (length - 4) * (length - 2) * most
    return math.sqrt(above / ((most - 4) * (most - 2) * length))


def projected(
    weight: torch.Tensor, gradient: torch.Tensor, update: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """The update without its part along the weights, where only their direction counts: judged by
    channel, then by layer; and what part of the decay is left."""
    for rows in (len(weight), 1):
        weights, gradients = weight.reshape(rows, -1), gradient.reshape(rows, -1)
        cosines = torch.nn.functional.cosine_similarity(gradients, weights, dim=1, eps=EPSILON)
        if cosines.abs().max() < DELTA / math.sqrt(weights.shape[1]):
            unit = weights / (weights.norm(dim=1, keepdim=True) + EPSILON)
            along = unit * (unit * update.reshape(rows, -1)).sum(1, keepdim=True)
            return update - along.reshape(update.shape), PART
    return update, 1.0


def _gradient(weight: torch.nn.Parameter, group: dict[str, Any]) -> torch.Tensor:
    assert weight.grad is not None
    gradient = weight.grad
    if group["weight_decay"] and not (group["decoupled"] or group["adamp"]):
        gradient = gradient.add(weight, alpha=group["weight_decay"])
    if group["centred"] and gradient.dim() > 1:
        gradient = gradient - gradient.mean(tuple(range(1, gradient.dim())), keepdim=True)
    return gradient
