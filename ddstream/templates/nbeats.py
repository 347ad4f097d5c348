"""N-BEATS (Oreshkin et al. 2019): stacks of blocks, each explains a part of a series' window.

Trend blocks make polynomials of it, seasonality blocks sums of waves, generic blocks what they
learn. A block's backcast is taken from what the next one sees; the forecasts are summed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal, NamedTuple, Self, cast

import torch
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional

from ddstream.api.parameters import Strings
from ddstream.data import Dimensions
from ddstream.templates.protocol import TemplateParameters
from ddstream.templates.spans import Span

Form = Literal["trend", "seasonality", "generic"]

_FORMS: Mapping[str, Form] = {"t": "trend", "s": "seasonality", "g": "generic"}
_LARGEST = 4096
"""Most thetas, blocks or units that a part of `stackdef` may ask for."""
_USAGE = (
    "stackdef: {} is none of tK (trend, K terms), s or sK (seasonality), gK (generic, K thetas), "
    f"bK (blocks a stack), hK (hidden units), K from 1 to {_LARGEST}"
)


class Stack(NamedTuple):
    """Blocks of one form; 0 thetas stand for as many as there are steps to tell."""

    form: Form
    thetas: int


class StackDefinition(NamedTuple):
    """What `stackdef` says: the stacks in their order, and the size of all their blocks."""

    stacks: tuple[Stack, ...]
    blocks: int
    hidden: int

    @classmethod
    def of(cls, parts: tuple[str, ...]) -> Self:
        """The stacks of a list. Raises ValueError for a part that means nothing."""
        stacks, sizes = [], {"b": 3, "h": 10}
        for part in parts:
            found = re.fullmatch(r"([tsgbh])(\d{0,6})", part)
            size = int(found[2] or 0) if found else 0
            optional = found is not None and found[1] == "s" and not found[2]
            if found is None or not (optional or 1 <= size <= _LARGEST):
                raise ValueError(_USAGE.format(repr(part[:40])))
            if found[1] in sizes:
                sizes[found[1]] = size
            else:
                stacks.append(Stack(_FORMS[found[1]], size))
        if not stacks:
            raise ValueError("stackdef has no stack: name at least one of tK, s, gK")
        return cls(tuple(stacks), sizes["b"], sizes["h"])


class NBeatsParameters(TemplateParameters):
    """`template_params` of nbeats."""

    stackdef: Strings = Field(
        default=("t2", "s", "g3", "b3", "h10"),
        description="Stacks: tK trend, s[K] seasonality, gK generic; bK blocks, hK hidden units.",
    )
    backcast_loss_coef: float = Field(
        default=0.0, ge=0, description="Weight of the loss of what is left of the input."
    )

    @field_validator("stackdef", mode="after")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        StackDefinition.of(value)
        return value


class NBeats(nn.Module):
    """Tells N x `horizon` x `outputs` of N x `steps` x `columns`.

    The result begins with what is left of the input (`backcast` steps), then come those told.
    Where columns and outputs differ in number, or a series is longer than a window, it is the pair
    of both, those told first.
    """

    def __init__(self, span: Span, stacks: StackDefinition, backcast_loss_coef: float = 0.0):
        super().__init__()
        self.span = span
        self.backcast_loss_coef = backcast_loss_coef
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                Block(span, stack._replace(thetas=stack.thetas or span.horizon), stacks.hidden)
                for _ in range(stacks.blocks)
            )
            for stack in stacks.stacks
        )

    @property
    def _blocks(self) -> list[list[Block]]:
        return [list(cast("nn.ModuleList", stack)) for stack in self.stacks]  # type: ignore[arg-type]

    @property
    def backcast(self) -> int:
        """Steps of the result that are left of the input."""
        return self.span.steps

    @property
    def extractable(self) -> dict[str, str]:
        """Where the layers are that the API names `stack:block:layer` (contract 2.11)."""
        return {
            f"{s}:{b}:{name}": f"stacks.{s}.{b}.{layer}"
            for s, stack in enumerate(self._blocks)
            for b, block in enumerate(stack)
            for name, layer in block.layers.items()
        }

    def forward(self, series: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """See above. Raises InputError for series of another size."""
        if self.span.longer(series):
            return self.span.over(series, lambda window: self._parts(window)[1]), series[:, :0]
        left, told = self._parts(series)
        if self.span.columns != self.span.outputs:
            return told, left
        return torch.cat([left, told], dim=1)

    def _parts(self, left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is left of windows, and what is told."""
        told = left.new_zeros(len(left), self.span.horizon, self.span.outputs)
        for block in chain.from_iterable(self._blocks):
            left, told = block(left, told)
        return left, told


class Block(nn.Module):
    """One block: four layers, thetas for both directions, and what they are made into.

    Widths are multiplied by the number of columns. Trend and seasonality blocks use the same thetas
    for the backcast and the forecast where both have as many columns.
    """

    def __init__(self, span: Span, stack: Stack, hidden: int) -> None:
        super().__init__()
        self._span = span
        width = hidden * span.columns
        self.fc1 = nn.Linear(span.steps * span.columns, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, width)
        self.fc4 = nn.Linear(width, width)
        generic = stack.form == "generic"
        shared = not generic and span.columns == span.outputs
        self.theta_b_fc = nn.Linear(width, stack.thetas * span.columns, bias=False)
        self.theta_f_fc = (
            self.theta_b_fc if shared else nn.Linear(width, stack.thetas * span.outputs, bias=False)
        )
        self.end = nn.Identity()
        if generic:
            self.backcast_fc = nn.Linear(self.theta_b_fc.out_features, span.steps * span.columns)
            self.forecast_fc = nn.Linear(self.theta_f_fc.out_features, span.horizon * span.outputs)
        else:
            basis = polynomials if stack.form == "trend" else waves
            for name, steps in (
                ("backcast_basis", torch.arange(-span.steps, 0)),
                ("forecast_basis", torch.arange(span.horizon)),
            ):
                made = basis(steps / span.horizon, stack.thetas)
                self.register_buffer(name, made, persistent=False)

    @property
    def layers(self) -> dict[str, str]:
        """The names of its layers, and where they are."""
        names = ["fc1", "fc2", "fc3", "fc4", "theta_b_fc", "theta_f_fc"]
        if hasattr(self, "backcast_fc"):
            names += ["backcast_fc", "forecast_fc"]
        shared = self.theta_f_fc is self.theta_b_fc
        found = {name: name for name in (*names, "end")}
        return found | ({"theta_f_fc": "theta_b_fc"} if shared else {})

    def forward(self, left: torch.Tensor, told: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is left after this block, and what is told with its part."""
        values = left.flatten(1)
        for layer in (self.fc1, self.fc2, self.fc3, self.fc4):
            values = functional.relu(layer(values))
        thetas = self.theta_b_fc(values)
        shared = self.theta_f_fc is self.theta_b_fc
        back, ahead = self._made(thetas, thetas if shared else self.theta_f_fc(values))
        left, told = left - back.view_as(left), told + ahead.view_as(told)
        self.end(torch.cat([left.flatten(1), told.flatten(1)], dim=1))
        return left, told

    def _made(self, back: torch.Tensor, ahead: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if hasattr(self, "backcast_fc"):
            return (
                self.backcast_fc(functional.relu(back)),
                self.forecast_fc(functional.relu(ahead)),
            )
        return (
            _combined(back, cast("torch.Tensor", self.backcast_basis)),
            _combined(ahead, cast("torch.Tensor", self.forecast_basis)),
        )


def _combined(thetas: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Sums N x T x D of basis functions K x T, each column with K thetas of its own."""
    each = thetas.view(len(thetas), len(basis), -1)
    return torch.einsum("nkd,kt->ntd", each, basis)


def polynomials(times: torch.Tensor, terms: int) -> torch.Tensor:
    """The powers 0, 1, 2... of times: `terms` x T."""
    return torch.stack([times**power for power in range(terms)])


def waves(times: torch.Tensor, terms: int) -> torch.Tensor:
    """Cosines, then sines, of whole numbers of waves in a unit of time: `terms` x T.

    Cosines begin with none, which is a constant; of an uneven number they are one more.
    """
    cosines = terms - terms // 2
    angles = 2 * math.pi * times
    return torch.stack(
        [torch.cos(number * angles) for number in range(cosines)]
        + [torch.sin(number * angles) for number in range(1, terms - cosines + 1)]
    )


def nbeats(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """N-BEATS for windows of series."""
    found = NBeatsParameters.read(params)
    return NBeats(Span.of(dimensions), StackDefinition.of(found.stackdef), found.backcast_loss_coef)
