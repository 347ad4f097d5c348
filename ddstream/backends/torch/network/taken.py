"""What a head of ours is given of a traced net's results (contract 5.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import tensor
from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates.language import FirstToken
from ddstream.templates.protocol import Unbuilt


def taking(
    script: torch.jit.ScriptModule, parameters: TorchParameters, dimensions: Dimensions
) -> tuple[nn.Module, int]:
    """What a linear head is given, and how many numbers that is.

    `embedding_size` says it, else a pass of an empty sample. Raises ParameterError where the sizes
    of samples are not known either.
    """
    if parameters.template == "bert":
        return TextVector(), parameters.embedding_size
    taken = Flattened()
    if "embedding_size" in parameters.model_fields_set:
        return taken, parameters.embedding_size
    if dimensions.columns:
        sample = torch.zeros(1, dimensions.columns)
    elif dimensions.height and dimensions.width:
        sample = torch.zeros(1, dimensions.channels or 3, dimensions.height, dimensions.width)
    else:
        raise ParameterError(
            "finetuning of a traced net needs samples of one size: set width and height, "
            "or embedding_size"
        )
    return taken, _given(script, taken, sample).shape[1]


def mapping(
    script: torch.jit.ScriptModule, dimensions: Dimensions
) -> tuple[nn.Module, Sequence[int]]:
    """What a reader of texts is given, and its size C x h x w, by a pass of an empty image.

    Raises ParameterError where that is no feature map, Unbuilt where images have no size yet: a
    training may find one (`align`).
    """
    if not dimensions.height or not dimensions.width:
        raise Unbuilt("crnn behind a traced net needs images of one size: set width and height")
    taken = FeatureMap()
    image = torch.zeros(1, dimensions.channels or 3, dimensions.height, dimensions.width)
    return taken, _given(script, taken, image).shape[1:]


def _given(script: torch.jit.ScriptModule, taken: nn.Module, sample: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        try:
            given: torch.Tensor = taken(script(sample))
        except RuntimeError as error:
            raise ParameterError(untaken(sample.shape[1:], error)) from error
    return given


def untaken(shape: Sequence[int], error: RuntimeError) -> str:
    """The words about a sample that a traced net cannot compute with."""
    reason = [line for line in str(error).splitlines() if line.strip()][-1:]
    size = "x".join(map(str, shape))
    return f"the traced net takes no samples of {size}: {''.join(reason)[:200]}"


class Flattened(nn.Module):
    """All numbers of a traced net's first result, in a row a sample."""

    def forward(self, results: object) -> torch.Tensor:
        """N x F. Raises ParameterError where the net gives no tensor."""
        return tensor(results).flatten(1)


class FeatureMap(nn.Module):
    """A traced net's first result, which has a place for each part of an image."""

    def forward(self, results: object) -> torch.Tensor:
        """N x C x h x w. Raises ParameterError for anything else."""
        found = tensor(results)
        if found.dim() != 4 or 0 in found.shape or not found.is_floating_point():
            raise ParameterError(
                "crnn reads a feature map, images x channels x height x width: "
                f"the traced net gives {found.dtype} of {tuple(found.shape)}"
            )
        return found


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
