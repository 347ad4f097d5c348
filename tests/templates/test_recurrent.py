"""Recurrent networks: sizes by formula, names of layers, memory, tiles, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates import TEMPLATES
from ddstream.templates.protocol import Unbuilt
from ddstream.templates.recurrent import Recurrent


def built(
    *layers: str, columns: int = 9, outputs: int = 3, horizon: int = 0, **params: Any
) -> Recurrent:
    torch.manual_seed(0)
    sizes = Dimensions(
        outputs=outputs, columns=columns, steps=10, horizon=horizon or 10, follows=horizon > 0
    )
    model = TEMPLATES.load("recurrent")(sizes, {"layers": list(layers), **params}).eval()
    assert isinstance(model, Recurrent)
    return model


def lstm(given: int, units: int) -> int:
    return 4 * (units * given + units * units + 2 * units)


def affine(given: int, units: int) -> int:
    return given * units + units


@pytest.mark.promise("templates.recurrent", "templates.recurrent.layers")
@pytest.mark.parametrize(
    ("layers", "names", "size"),
    [
        (["L10", "L10"], "data LSTM_0 LSTM_1 rnn_pred", lstm(9, 10) + lstm(10, 10) + affine(10, 3)),
        (["50"], "data LSTM_0 rnn_pred", lstm(9, 50) + affine(50, 3)),
        (["R7"], "data RNN_0 rnn_pred", lstm(9, 7) // 4 + affine(7, 3)),
        (["A7", "L3"], "data AFFINE_0 LSTM_1", affine(9, 7) + lstm(7, 3)),
        (
            ["AR5", "L10", "L10"],
            "data AFFINE_0 LSTM_1 LSTM_2 rnn_pred",
            affine(9, 5) + lstm(5, 10) + lstm(10, 10) + affine(10, 3),
        ),
        (
            ["L10", "L11", "T", "L12"],
            "data LSTM_0 LSTM_1 TILE_2 LSTM_3 rnn_pred",
            lstm(9, 10) + lstm(10, 11) + lstm(11, 12) + affine(12, 3),
        ),
    ],
)
def test_layers_have_their_names_and_sizes(layers: list[str], names: str, size: int) -> None:
    model = built(*layers)
    assert list(model.extractable) == names.split()
    assert set(model.extractable.values()) <= {name for name, _ in model.named_modules()}
    assert sum(p.numel() for p in model.parameters()) == size
    assert model(torch.zeros(2, 10, 9)).shape == (2, 10, 3)
    assert model(torch.zeros(2, 4, 9)).shape == (2, 4, 3)


def test_a_layer_is_an_lstm_of_torch() -> None:
    model = built("L3", outputs=3)
    reference = nn.LSTM(9, 3, batch_first=True)
    reference.load_state_dict(model.layers["LSTM_0"].state_dict())
    series = torch.randn(2, 10, 9)
    assert torch.equal(model(series), reference(series)[0])


def test_a_tile_is_the_last_state_at_all_steps() -> None:
    model = built("L4", "T", "A3")
    series = torch.randn(2, 10, 9)
    told = model(series)
    assert torch.equal(told, told[:, :1].expand_as(told))
    # The whole series went through it.
    series[:, 0] += 1
    assert not torch.equal(model(series), told)


def test_residual_layers_get_all_outputs_before_them_but_not_around_a_tile() -> None:
    model = built("L4", "L5", "T", "L6", "A7", residual=True)
    sizes = lstm(9, 4) + lstm(9 + 4, 5) + lstm(5, 6) + affine(5 + 6, 7) + affine(7, 3)
    assert sum(p.numel() for p in model.parameters()) == sizes
    assert model(torch.zeros(2, 10, 9)).shape == (2, 10, 3)


def test_dropout_is_one_share_or_one_a_layer() -> None:
    def shares(*layers: str, dropout: Any) -> list[float]:
        model = built(*layers, dropout=dropout)
        return [each.p for each in model.dropouts.values()]  # type: ignore[misc]

    assert shares("L3", "T", "L3", dropout=0.5) == [0.5, 0, 0.5]
    assert shares("L3", "T", "L3", dropout=[0.1, 0.2]) == [0.1, 0, 0.2]
    assert shares("L3", "L3", dropout=[0.1, 0.2]) == [0.1, 0.2]
    model, series = built("L3", dropout=[0.5]), torch.randn(1, 10, 9)
    assert torch.equal(model(series), model(series))
    model.train()
    assert not torch.equal(model(series), model(series))


def test_all_weights_learn() -> None:
    model = built("AR5", "L10", "T", "R4", dropout=[0.1], residual=True).train()
    model(torch.randn(4, 10, 9)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("layers", [("L4", "A5", "R3"), ("L4", "R6", "L5")])
@torch.inference_mode()
def test_where_it_continues_parts_are_told_as_the_whole_would_be(layers: tuple[str, ...]) -> None:
    model, series = built(*layers), torch.randn(1, 12, 9)
    whole = model(series)
    model(torch.randn(1, 3, 9))
    first = model(series[:, :5])
    assert torch.allclose(first, whole[:, :5], atol=1e-6)
    model.continues = True
    assert torch.allclose(model(series[:, 5:6]), whole[:, 5:6], atol=1e-6)
    assert torch.allclose(model(series[:, 6:]), whole[:, 6:], atol=1e-6)
    model.continues = False
    assert torch.equal(model(series), whole)
    # It goes on from the last of several.
    model(torch.cat([torch.randn(2, 5, 9), series[:, :5]]))
    model.continues = True
    assert torch.allclose(model(series[:, 5:]), whole[:, 5:], atol=1e-6)


def test_forecasts_are_the_last_steps() -> None:
    model = built("L4", columns=3, horizon=4)
    assert model(torch.zeros(2, 10, 3)).shape == (2, 4, 3)
    with pytest.raises(InputError, match="3 steps are too few for 4 to come"):
        model(torch.zeros(2, 3, 3))
    with pytest.raises(InputError, match="steps of 2 columns: the model takes 3"):
        model(torch.zeros(2, 10, 2))


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "recurrent template selected w/o layer specification"),
        ({"layers": ["X5"]}, "layers: 'X5' is none of L50 .LSTM"),
        ({"layers": ["L"]}, "'L' is none of"),
        ({"layers": ["L0"]}, "'L0' is none of"),
        ({"layers": ["L999999"]}, "'L999999' is none of"),
        ({"layers": ["T", "L5"]}, "it cannot be first"),
        ({"layers": ["L5"], "dropout": [0.1, 0.2]}, "dropout has 2 values for 1 layers"),
        ({"layers": ["L5"], "dropout": [1.0]}, "dropout is at least 0 and below 1"),
        ({"layers": ["L5"], "depth": 2}, "unknown template_params: depth; there is: layers"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        TEMPLATES.load("recurrent")(Dimensions(), params)


def test_a_model_waits_for_the_sizes_of_its_series() -> None:
    with pytest.raises(Unbuilt, match="the columns of the series are not known"):
        TEMPLATES.load("recurrent")(Dimensions(), {"layers": ["L5"]})
