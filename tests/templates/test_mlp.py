"""The perceptron: its layers and options, and what samples it is made for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates import PARAMETERS, TEMPLATES
from ddstream.templates.mlp import ACTIVATIONS
from ddstream.templates.protocol import Unbuilt


def built(dimensions: Dimensions, **params: Any) -> nn.Module:
    """A model with fresh weights."""
    torch.manual_seed(0)
    return TEMPLATES.load("mlp")(dimensions, params).eval()


ROW = Dimensions(outputs=3, columns=5)


def test_layers_are_as_wide_as_asked_for() -> None:
    model = built(ROW, layers=[8, 4])
    sizes = [
        (each.in_features, each.out_features)
        for each in model.modules()
        if isinstance(each, nn.Linear)
    ]
    assert sizes == [(5, 8), (8, 4), (4, 3)]
    assert model(torch.ones(2, 5)).shape == (2, 3)
    assert sum(isinstance(each, nn.Linear) for each in built(ROW, layers=0).modules()) == 1
    assert sum(isinstance(each, nn.Linear) for each in built(ROW, layers=7).modules()) == 2


def test_it_computes_what_its_layers_say() -> None:
    model = built(ROW, layers=[8], activation="tanh")
    found = torch.randn(4, 5)
    weights = model.state_dict()
    hidden = torch.tanh(found @ weights["hidden.0.weight"].T + weights["hidden.0.bias"])
    wanted = hidden @ weights["head.weight"].T + weights["head.bias"]
    assert torch.allclose(model(found), wanted, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_runs(name: str) -> None:
    assert built(ROW, activation=name)(torch.ones(2, 5)).isfinite().all()


def test_dropout_and_batch_norm_act_in_training() -> None:
    model = built(ROW, dropout=0.5, batch_norm=True, layers=[8])
    kinds = [type(each) for each in model.modules()]
    assert kinds.count(nn.Dropout) == kinds.count(nn.BatchNorm1d) == 1
    batch = torch.randn(16, 5)
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))


def test_images_of_one_size_and_ids_of_texts_are_taken_too() -> None:
    pixels = Dimensions(outputs=2, channels=1, height=4, width=6)
    assert built(pixels)(torch.ones(3, 1, 4, 6)).shape == (3, 2)
    ids = Dimensions(outputs=2, steps=7, vocabulary=20)
    model = built(ids, embedding=4)
    assert model(torch.randint(0, 20, (3, 7))).shape == (3, 2)
    assert model.state_dict()["first.0.weight"].shape == (20, 4)


def test_sizes_that_are_not_known_wait_for_data() -> None:
    for dimensions in (
        Dimensions(outputs=2),
        Dimensions(columns=2),
        Dimensions(outputs=2, width=3),
    ):
        with pytest.raises(Unbuilt):
            built(dimensions)
    with pytest.raises(ParameterError, match="tells no series"):
        built(Dimensions(outputs=1, columns=2, steps=3, horizon=3))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"layer": [1]}, "unknown template_params: layer; there is: .*layers"),
        ({"layers": [-1]}, "layers must be a list of numbers of units"),
        ({"layers": ["a"]}, "layers must be a list of numbers of units"),
        ({"activation": "step"}, "unknown activation step; there is: relu"),
        ({"dropout": 1.0}, "dropout"),
        ({"nclasses": 4}, "nclasses is 4, but 3 outputs"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        built(ROW, **params)


def test_its_parameters_are_described() -> None:
    fields = PARAMETERS.load("mlp").model_fields
    assert {"layers", "activation", "dropout", "batch_norm", "embedding"} <= set(fields)
    assert all(each.description for each in fields.values())
