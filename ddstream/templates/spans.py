"""Spans: the steps that a model of series takes and tells, and series that are longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ddstream.data import Dimensions
from ddstream.errors import InputError
from ddstream.templates.protocol import Unbuilt


@dataclass(frozen=True, slots=True)
class Span:
    """Sizes of a model: `steps` of `columns` are taken, `horizon` steps of `outputs` are told.

    They are the same steps, unless those told `follow` the others.
    """

    columns: int
    outputs: int
    steps: int
    horizon: int
    follows: bool

    @classmethod
    def of(cls, dimensions: Dimensions) -> Span:
        """That of these samples. Raises Unbuilt if they are not known yet."""
        sizes = {name: getattr(dimensions, name) for name in ("columns", "steps", "horizon")}
        if missing := [name for name, size in sizes.items() if not size]:
            raise Unbuilt(f"the {missing[0]} of the series are not known before there are data")
        outputs = dimensions.outputs or dimensions.columns
        return cls(**sizes, outputs=outputs, follows=dimensions.follows)

    def longer(self, series: torch.Tensor) -> bool:
        """Whether series N x T x `columns` are longer than a window.

        Raises InputError for those that a model cannot take, not even window after window.
        """
        _, length, columns = series.shape
        longer = length > self.steps and not self.follows
        if columns != self.columns or (length != self.steps and not longer):
            raise InputError(
                f"series of {length} steps of {columns} columns: "
                f"the model takes {self.steps} of {self.columns}"
            )
        return longer

    def over(
        self, series: torch.Tensor, tell: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """What is told of longer series, window after window.

        The last window ends with the series; of it counts what no other has told.
        """
        length = series.shape[1]
        begins = [*range(0, length - self.steps, self.steps), length - self.steps]
        windows = torch.cat([series[:, begin : begin + self.steps] for begin in begins])
        *parts, last = torch.chunk(tell(windows), len(begins))
        return torch.cat([*parts, last[:, self.steps * len(begins) - length :]], dim=1)
