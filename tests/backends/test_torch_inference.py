"""Forward passes: several devices, and results that are no results."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.network.inference import Pass, Prepared, run
from ddstream.backends.torch.network.model import Model
from ddstream.backends.torch.objectives.scores import Scores
from ddstream.data import OUTPUT, Array, Normalise
from ddstream.errors import InternalError, ParameterError
from tests.backends.digit_sets import TinyNet, digit_set

CPU = torch.device("cpu")


def passed(module: nn.Module, devices: int = 1, layer: str = "", images: int = 5) -> Array:
    prepared = Prepared(Model(module.eval(), traced=True, trained=True))
    scores = Scores(TorchParameters())
    how = Pass(scores, [CPU] * devices, torch.float32, Normalise(), layer)
    return run(prepared, {"image": digit_set("some", 0, images).images}, how)[OUTPUT]


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_batch_is_shared_out_among_devices_in_order(images: int) -> None:
    model = TinyNet()
    shared = passed(model, devices=3, images=images)
    np.testing.assert_allclose(shared, passed(model, images=images), rtol=1e-4, atol=1e-4)


class Answering(nn.Module):
    """Answers whatever it is made with."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer
        self.idle = nn.Identity()

    def forward(self, images: torch.Tensor) -> object:
        return self.answer


def test_the_first_of_several_results_counts() -> None:
    two = (torch.ones(5, 2), torch.zeros(5, 3))
    np.testing.assert_array_equal(passed(Answering(two)), np.ones((5, 2)))


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (torch.ones(4, 2), InternalError, "4 results for 5 samples"),
        (torch.ones(5, 0), InternalError, "The model returned an empty tensor"),
        ({"boxes": 3}, ParameterError, "the model gives a dict, not a tensor"),
    ],
)
def test_a_result_that_is_none_is_an_error(
    answer: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        passed(Answering(answer))


def test_a_layer_that_is_not_used_cannot_be_extracted() -> None:
    with pytest.raises(ParameterError, match="extract layer idle takes no part"):
        passed(Answering(torch.ones(5, 2)), layer="idle")
