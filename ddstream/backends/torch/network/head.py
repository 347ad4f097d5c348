"""Heads: a traced model with layers of ours behind it (contract 5.8).

They lie in a file of their own beside the traced one, `.ptw`; a linear layer has the names of
`nn.Linear` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ddstream.errors import ParameterError
from ddstream.repository import HEAD


def beside(path: Path) -> Path:
    """The file of the head that belongs to a traced file."""
    return path.with_suffix(HEAD)


class Headed(nn.Module):
    """A traced model, what is taken of its results, and the head that is given that."""

    def __init__(self, traced: torch.jit.ScriptModule, taken: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.traced = traced
        self.taken = taken
        self.head = head

    @property
    def body(self) -> nn.Module:
        """What `freeze_traced` leaves as it is."""
        return self.traced

    @property
    def extractable(self) -> Mapping[str, str]:
        """Names of layers and where they are: `final` is what the head is given."""
        own: Mapping[str, str] = getattr(self.taken, "extractable", {})
        return {"final": "taken", **{name: f"taken.{place}" for name, place in own.items()}}

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """What the head makes of samples."""
        found: torch.Tensor = self.head(self.taken(self.traced(*inputs)))
        return found


class Scores(nn.Linear):
    """A head that scores classes, or tells targets, by the last axis of what it is given."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """The scores. Raises ParameterError where its width is not the model's."""
        if given.shape[-1] != self.in_features:
            raise ParameterError(
                f"the head takes {self.in_features} numbers (embedding_size), "
                f"the traced net gives {given.shape[-1]}"
            )
        return super().forward(given)
