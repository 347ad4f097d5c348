"""Solvers: how gradients change the weights (contract 5.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import torch
from torch import optim

from ddstream.api.solver import Solver
from ddstream.backends.torch.training.ranger import Ranger
from ddstream.errors import ParameterError

Parameters: TypeAlias = list[torch.nn.Parameter]
Maker: TypeAlias = Callable[[Parameters, Solver], optim.Optimizer]

CLIP_VALUE, CLIP_NORM = 5.0, 100.0
"""Bounds where clipping is on and none is given."""


def _betas(solver: Solver) -> tuple[float, float]:
    return solver.beta1, solver.beta2


def _ranger(parameters: Parameters, solver: Solver) -> optim.Optimizer:
    return Ranger(
        parameters,
        solver.base_lr,
        betas=_betas(solver),
        weight_decay=solver.decay,
        rectified=solver.rectified,
        adabelief=solver.believes,
        centred=solver.centres,
        adamp=solver.adamp,
        decoupled=solver.decoupled_wd,
    )


def _madgrad(parameters: Parameters, solver: Solver) -> optim.Optimizer:
    # Here: its library takes a second to import.
    from pytorch_optimizer import MADGRAD

    return MADGRAD(
        parameters, lr=solver.base_lr, momentum=solver.inertia, weight_decay=solver.decay
    )


SOLVERS: Mapping[str, Maker] = {
    "SGD": lambda p, s: optim.SGD(p, lr=s.base_lr, momentum=s.inertia, weight_decay=s.decay),
    # Fused: one pass over the weights instead of ten, less than half the time on a CPU too.
    "ADAM": lambda p, s: optim.Adam(
        p, lr=s.base_lr, betas=_betas(s), weight_decay=s.decay, fused=True
    ),
    "ADAMW": lambda p, s: optim.AdamW(
        p, lr=s.base_lr, betas=_betas(s), weight_decay=s.decay, fused=True
    ),
    "RADAM": lambda p, s: optim.RAdam(p, lr=s.base_lr, betas=_betas(s), weight_decay=s.decay),
    "RMSPROP": lambda p, s: optim.RMSprop(p, lr=s.base_lr, weight_decay=s.decay),
    "ADAGRAD": lambda p, s: optim.Adagrad(p, lr=s.base_lr, weight_decay=s.decay),
    "RANGER": _ranger,
    "RANGER_PLUS": _ranger,
    "MADGRAD": _madgrad,
}
_BETAS = frozenset({"beta1", "beta2"})
_RANGER = _BETAS | {"rectified", "adabelief", "gradient_centralization", "adamp", "decoupled_wd"}
USED: Mapping[str, frozenset[str]] = {
    "SGD": frozenset({"momentum"}),
    "ADAM": _BETAS,
    "ADAMW": _BETAS,
    "RADAM": _BETAS,
    "RMSPROP": frozenset(),
    "ADAGRAD": frozenset(),
    "RANGER": _RANGER,
    "RANGER_PLUS": _RANGER,
    "MADGRAD": frozenset({"momentum"}),
}
"""Options that not every solver has, and who has them."""
NEEDS: Mapping[str, tuple[str, Callable[[Solver], bool]]] = {
    "lookahead_steps": ("lookahead", lambda s: s.looks_ahead),
    "lookahead_alpha": ("lookahead", lambda s: s.looks_ahead),
    "swa_start": ("swa", lambda s: s.swa),
    "sam_rho": ("sam", lambda s: s.sam),
    "clip_value": ("clip", lambda s: s.clips),
    "clip_norm": ("clip", lambda s: s.clips),
    "lr_step": ("lr_policy step", lambda s: s.lr_policy == "step"),
    "lr_gamma": ("lr_policy step", lambda s: s.lr_policy == "step"),
    "lr_min": ("lr_policy cosine", lambda s: s.lr_policy == "cosine"),
}
"""Options that mean nothing without another one, which is named, and whether that is on."""


def make_solver(parameters: Iterable[torch.nn.Parameter], solver: Solver) -> optim.Optimizer:
    """The optimizer of `solver_type`. Raises ParameterError for one that does not exist."""
    learning = [p for p in parameters if p.requires_grad]
    if not learning:
        raise ParameterError("the model has no weights that can be trained")
    check_solver(solver)
    return SOLVERS[solver.solver_type](learning, solver)


def check_solver(solver: Solver) -> None:
    """Raises ParameterError for a `solver_type` that does not exist."""
    if solver.solver_type not in SOLVERS:
        known, given = ", ".join(SOLVERS), solver.solver_type[:40]
        raise ParameterError(
            f"parameters.mllib.solver.solver_type {given} is unknown; there is: {known}"
        )


def unused(solver: Solver) -> list[str]:
    """A warning for each option that was given and that does nothing in this solver."""
    given = solver.model_fields_set
    lacking = frozenset[str]().union(*USED.values()) - USED[solver.solver_type]
    idle = {name: need for name, (need, on) in NEEDS.items() if name in given and not on(solver)}
    where = "parameters.mllib.solver"
    return [
        *(
            f"{where}.{name} was ignored: {solver.solver_type} has none"
            for name in sorted(lacking & given)
        ),
        *(f"{where}.{name} was ignored without {need}" for name, need in idle.items()),
    ]


def resumed(optimizer: optim.Optimizer, state: Mapping[str, object]) -> None:
    """Load a kept state; the request's options stay, the kept ones are forgotten."""
    options = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group.update(own)


def clip(parameters: Parameters, solver: Solver) -> None:
    """Bound the gradients: each one's value, then the norm of all."""
    if not solver.clips:
        return
    bounded = solver.clip_value > 0 or solver.clip_norm > 0
    value = solver.clip_value if bounded else CLIP_VALUE
    norm = solver.clip_norm if bounded else CLIP_NORM
    if value > 0:
        torch.nn.utils.clip_grad_value_(parameters, value)
    if norm > 0:
        torch.nn.utils.clip_grad_norm_(parameters, norm)
