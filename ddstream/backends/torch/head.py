"""Heads: a traced model with a linear layer of ours behind it (contract 5.8).

The layer lies in a file of its own beside the traced one, `.ptw`, with the names of `nn.Linear`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import tensor
from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.repository import HEAD
from ddstream.templates.language import FirstToken


def beside(path: Path) -> Path:
    """The file of the head that belongs to a traced file."""
    return path.with_suffix(HEAD)


class Headed(nn.Module):
    """A traced model, what is taken of its results, and a linear layer on the last axis of that."""

    def __init__(self, traced: torch.jit.ScriptModule, taken: nn.Module, head: nn.Linear) -> None:
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
        """The scores of the head. Raises ParameterError where its width is not the model's."""
        found: torch.Tensor = self.taken(self.traced(*inputs))
        if found.shape[-1] != self.head.in_features:
            raise ParameterError(
                f"the head takes {self.head.in_features} numbers (embedding_size), "
                f"the traced net gives {found.shape[-1]}"
            )
        scores: torch.Tensor = self.head(found)
        return scores


class Flattened(nn.Module):
    """All numbers of a traced net's first result, in a row a sample."""

    def forward(self, results: object) -> torch.Tensor:
        """N x F. Raises ParameterError where the net gives no tensor."""
        return tensor(results).flatten(1)


def taking(
    script: torch.jit.ScriptModule, parameters: TorchParameters, dimensions: Dimensions
) -> tuple[nn.Module, int]:
    """What a head is given of a traced net's results, and how many numbers that is.

    `embedding_size` says it, else a pass of an empty sample. Raises ParameterError where the sizes
    of samples are not known either.
    """
    if parameters.template == "bert":
        return TextVector(), parameters.embedding_size
    if "embedding_size" in parameters.model_fields_set:
        return Flattened(), parameters.embedding_size
    if dimensions.columns:
        sample = torch.zeros(1, dimensions.columns)
    elif dimensions.height and dimensions.width:
        sample = torch.zeros(1, dimensions.channels or 3, dimensions.height, dimensions.width)
    else:
        raise ParameterError(
            "finetuning of a traced net needs samples of one size: set width and height, "
            "or embedding_size"
        )
    with torch.no_grad():
        try:
            given = Flattened()(script(sample))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1][:200]
            size = "x".join(str(side) for side in sample.shape[1:])
            raise ParameterError(f"the traced net takes no samples of {size}: {reason}") from error
    return Flattened(), given.shape[1]


class TextVector(nn.Module):
    """Of the results of a traced bert the vector of the first token in the last hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = LastHidden()
        self.first = FirstToken()

    @property
    def extractable(self) -> Mapping[str, str]:
        """The last hidden states too have a name."""
        return {"hidden_state": "hidden"}

    def forward(self, results: object) -> torch.Tensor:
        """N x E of results with a list of hidden states N x L x E."""
        vector: torch.Tensor = self.first(self.hidden(results))
        return vector


class LastHidden(nn.Module):
    """The last of the hidden states that a traced transformer gives beside its result."""

    def forward(self, results: object) -> torch.Tensor:
        """The last tensor of the first list behind the result itself.

        Raises ParameterError if there is none.
        """
        beside = results[1:] if isinstance(results, tuple | list) else ()
        for each in beside:
            if isinstance(each, tuple | list) and each:
                last: torch.Tensor = each[-1]
                return last
        raise ParameterError(
            "the traced bert gives no list of hidden states as the second of its results: "
            "trace it with output_hidden_states"
        )
