"""`mllib.solver`: how the weights of a model are changed, at which rate and for how long."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from ddstream.api.parameters import ParameterObject

Policy = Literal["fixed", "step", "cosine", "warmup"]
AHEAD = frozenset({"RANGER", "RANGER_PLUS", "MADGRAD"})
"""Solvers that look ahead and clip by default (contract 5.4)."""


class Solver(ParameterObject):
    """`mllib.solver`: the options of all solvers; one that a solver lacks is warned of."""

    iterations: int = Field(ge=1, description="Iterations in all, a resumed part included.")
    test_interval: int = Field(default=0, description="Iterations between tests; 0: at the end.")
    snapshot: int = Field(
        default=0, ge=0, description="Iterations between checkpoints that stay; 0: none."
    )
    snapshot_interval: float = Field(
        default=300.0,
        ge=0,
        description="Seconds after which a checkpoint is due, kept until the next; 0: never.",
    )
    solver_type: str = Field(
        default="SGD",
        description="SGD, ADAM, ADAMW, RADAM, RMSPROP, ADAGRAD, RANGER, RANGER_PLUS, MADGRAD.",
    )
    iter_size: int = Field(
        default=1, le=1 << 16, description="Batches whose gradients make one step."
    )

    base_lr: float = Field(default=1e-4, gt=0, description="Learning rate.")
    lr_policy: Policy = Field(
        default="fixed", description="Course of the learning rate: fixed, step, cosine, warmup."
    )
    lr_step: int = Field(
        default=0, ge=0, description="Iterations between steps; 0: a third of the training."
    )
    lr_gamma: float = Field(default=0.1, gt=0, le=1, description="Factor of each step.")
    lr_min: float = Field(default=0.0, ge=0, description="Rate at which cosine ends.")
    lr_warmup: int = Field(
        default=0,
        ge=0,
        description="Iterations in which the rate rises to base_lr, with any policy; "
        "0: none, with warmup a twentieth of the training.",
    )

    beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Decay of the second moment.")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty; decoupled in ADAMW.")
    momentum: float = Field(
        default=0.0, ge=0, lt=1, description="Momentum of SGD; of MADGRAD, where it is 0.9."
    )
    rectified: bool = Field(default=True, description="RANGER: small steps while it knows little.")
    adabelief: bool = Field(
        default=False, description="RANGER: the second moment is of what surprises; on in _PLUS."
    )
    gradient_centralization: bool = Field(
        default=False, description="RANGER: gradients of mean zero; on in RANGER_PLUS."
    )
    adamp: bool = Field(
        default=False, description="RANGER: no steps along weights whose scale means nothing."
    )
    decoupled_wd: bool = Field(
        default=False, description="RANGER: weights decay beside the gradients, as in ADAMW."
    )
    lookahead: bool = Field(
        default=False, description="Slow weights follow; on in RANGER, RANGER_PLUS, MADGRAD."
    )
    lookahead_steps: int = Field(default=5, ge=1, description="Iterations between slow steps.")
    lookahead_alpha: float = Field(
        default=0.5, gt=0, le=1, description="Part of the way that a slow step goes."
    )
    swa: bool = Field(
        default=False, description="Test and keep the average of the weights, not the last ones."
    )
    swa_start: int = Field(
        default=-1, ge=-1, description="Iterations before the average; -1: 3/4 of the training."
    )
    sam: bool = Field(default=False, description="Steps by the gradient at the worst place near.")
    sam_rho: float = Field(default=0.05, gt=0, description="How near sam looks.")
    clip: bool = Field(
        default=False, description="Clip gradients; on in RANGER, RANGER_PLUS, MADGRAD, not in sam."
    )
    clip_value: float = Field(default=0.0, ge=0, description="Bound of each gradient; 0: none.")
    clip_norm: float = Field(default=0.0, ge=0, description="Bound of the norm; 0: none.")

    @field_validator("lr_policy", mode="before")
    @classmethod
    def _known_policy(cls, value: Any) -> Any:
        if value not in get_args(Policy):
            raise ValueError(f"there is: {', '.join(get_args(Policy))}")
        return value

    @property
    def batches(self) -> int:
        """Batches of one iteration."""
        return max(1, self.iter_size)

    @property
    def clips(self) -> bool:
        """Gradients are clipped: asked for, or a bound is given, or the solver does by default."""
        if "clip" in self.model_fields_set:
            return self.clip
        bounded = self.clip_value > 0 or self.clip_norm > 0
        return bounded or (self.solver_type in AHEAD and not self.sam)

    @property
    def decay(self) -> float:
        """The weight decay; ADAMW has one by default (contract 5.4)."""
        return self._given("weight_decay", self.solver_type == "ADAMW", 0.01)

    @property
    def inertia(self) -> float:
        """The momentum; MADGRAD has one by default."""
        return self._given("momentum", self.solver_type == "MADGRAD", 0.9)

    @property
    def looks_ahead(self) -> bool:
        """Slow weights follow the fast ones."""
        return bool(self._given("lookahead", self.solver_type in AHEAD, True))

    @property
    def believes(self) -> bool:
        """The second moment is of the gradients' surprises."""
        return bool(self._given("adabelief", self.solver_type == "RANGER_PLUS", True))

    @property
    def centres(self) -> bool:
        """Gradients are centred."""
        return bool(self._given("gradient_centralization", self.solver_type == "RANGER_PLUS", True))

    @property
    def averages_from(self) -> int:
        """How many iterations pass before the average begins (Izmailov et al. 2018)."""
        return self.iterations * 3 // 4 if self.swa_start < 0 else self.swa_start

    def _given(self, name: str, differs: bool, default: float) -> float:
        """An option as it was given, or as the solver's own `default` where that `differs`."""
        own = differs and name not in self.model_fields_set
        value: float = getattr(self, name)
        return default if own else value
