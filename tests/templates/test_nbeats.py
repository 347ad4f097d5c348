"""N-BEATS: sizes by formula, bases, residuals, layers by name, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates import TEMPLATES
from ddstream.templates.nbeats import NBeats, polynomials, waves
from ddstream.templates.protocol import Unbuilt


def built(steps: int, horizon: int, columns: int = 1, outputs: int = 1, **params: Any) -> NBeats:
    torch.manual_seed(0)
    sizes = Dimensions(
        outputs=outputs,
        columns=columns,
        steps=steps,
        horizon=horizon,
        follows=columns == outputs,
    )
    model = TEMPLATES.load("nbeats")(sizes, params).eval()
    assert isinstance(model, NBeats)
    return model


def size(
    stacks: Sequence[tuple[str, int]], sizes: tuple[int, int, int, int], blocks: int, hidden: int
) -> int:
    """Weights of stacks of (form, thetas), by the description of each block."""
    steps, horizon, columns, outputs = sizes
    width = hidden * columns
    total = 0
    for form, thetas in stacks:
        block = steps * columns * width + width + 3 * (width * width + width)
        block += width * thetas * columns
        if form == "g" or columns != outputs:
            block += width * thetas * outputs
        if form == "g":
            block += (thetas * columns + 1) * steps * columns
            block += (thetas * outputs + 1) * horizon * outputs
        total += blocks * block
    return total


@pytest.mark.promise("templates.nbeats", "templates.nbeats.stackdef")
@pytest.mark.parametrize(
    ("stackdef", "stacks", "blocks", "hidden"),
    [
        (None, [("t", 2), ("s", 5), ("g", 3)], 3, 10),
        (["t3", "g7", "h4"], [("t", 3), ("g", 7)], 3, 4),
        (["b2", "s4", "s"], [("s", 4), ("s", 5)], 2, 10),
    ],
)
@pytest.mark.parametrize(("columns", "outputs"), [(1, 1), (3, 3), (3, 2)])
def test_a_model_has_the_size_of_its_stacks(
    stackdef: list[str] | None,
    stacks: list[tuple[str, int]],
    blocks: int,
    hidden: int,
    columns: int,
    outputs: int,
) -> None:
    params = {"stackdef": stackdef} if stackdef else {}
    model = built(20, 5, columns, outputs, **params)
    found = sum(p.numel() for p in model.parameters())
    assert found == size(stacks, (20, 5, columns, outputs), blocks, hidden)


def test_the_result_is_what_is_left_and_what_is_told() -> None:
    assert built(500, 50)(torch.zeros(2, 500, 1)).shape == (2, 550, 1)
    model = built(8, 4, 2, 2)
    series = torch.randn(3, 8, 2)
    result = model(series)
    assert (model.backcast, result.shape) == (8, (3, 12, 2))
    # What the blocks took away, and what is left of it, is the input.
    taken, left = torch.zeros_like(series), series
    told = torch.zeros(3, 4, 2)
    for stack in model.stacks:
        for block in stack:  # type: ignore[attr-defined]
            after, told = block(left, told)
            taken, left = taken + (left - after), after
    assert torch.allclose(taken + result[:, :8], series, atol=1e-5)
    assert torch.allclose(told, result[:, 8:])
    told, left = built(8, 8, 3, 2)(torch.randn(3, 8, 3))
    assert (told.shape, left.shape) == ((3, 8, 2), (3, 8, 3))


def test_bases_are_powers_and_waves() -> None:
    times = torch.arange(-3, 4) / 2
    assert np.allclose(polynomials(times, 3), np.vander(times, 3, increasing=True).T)
    made = waves(times, 5)
    angles = 2 * np.pi * times.numpy()
    expected = [np.ones(7), np.cos(angles), np.cos(2 * angles), np.sin(angles), np.sin(2 * angles)]
    assert np.allclose(made, expected, atol=1e-5)
    assert waves(times, 1).shape == (1, 7)
    assert np.linalg.matrix_rank(waves(torch.arange(12) / 12, 11)) == 11


def test_all_weights_learn_and_only_with_the_coefficient_those_of_the_last_backcast() -> None:
    model = built(8, 4, stackdef=["t2", "g3", "b1"]).train()
    assert model.backcast_loss_coef == 0
    result = model(torch.randn(5, 8, 1))
    result[:, 8:].square().sum().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {f"stacks.1.0.{name}" for name in _BACK}
    result = model(torch.randn(5, 8, 1))
    result.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert built(8, 4, backcast_loss_coef=0.5).backcast_loss_coef == 0.5


_BACK = ("theta_b_fc.weight", "backcast_fc.weight", "backcast_fc.bias")


def test_layers_are_found_by_stack_block_and_name() -> None:
    model = built(500, 50)
    names = list(model.extractable)
    common = ["fc1", "fc2", "fc3", "fc4", "theta_b_fc", "theta_f_fc"]
    generic = [*common, "backcast_fc", "forecast_fc"]
    assert names == [
        f"{stack}:{block}:{layer}"
        for stack in range(3)
        for block in range(3)
        for layer in [*(generic if stack == 2 else common), "end"]
    ]
    modules = dict(model.named_modules())
    assert set(model.extractable.values()) <= set(modules)
    found: dict[str, torch.Tensor] = {}
    for name in ("1:1:fc3", "2:2:end"):
        modules[model.extractable[name]].register_forward_hook(
            lambda _, __, output, name=name: found.__setitem__(name, output)
        )
    result = model(torch.randn(2, 500, 1))
    assert found["1:1:fc3"].shape == (2, 10)
    # Before its activation.
    assert (found["1:1:fc3"] < 0).any()
    assert torch.equal(found["2:2:end"], result.flatten(1))


def test_longer_series_of_labels_are_told_window_after_window() -> None:
    model = built(4, 4, 2, 1)
    series = torch.randn(3, 11, 2)
    told, left = model(series)
    assert (told.shape, left.shape) == ((3, 11, 1), (3, 0, 2))
    for start in (0, 4):
        window = series[:, start : start + 4]
        assert torch.allclose(told[:, start : start + 4], model(window)[0], atol=1e-6)
    assert torch.allclose(told[:, 8:], model(series[:, 7:])[0][:, 1:], atol=1e-6)


def test_series_of_another_size_are_refused() -> None:
    for model, shape in (
        (built(8, 4), (1, 9, 1)),
        (built(8, 4), (1, 7, 1)),
        (built(8, 4), (1, 8, 2)),
    ):
        with pytest.raises(InputError, match="the model takes 8 of 1"):
            model(torch.zeros(shape))


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"stackdef": ["x3"]}, "stackdef: 'x3' is none of tK .trend"),
        ({"stackdef": ["t"]}, "'t' is none of"),
        ({"stackdef": ["g0"]}, "'g0' is none of"),
        ({"stackdef": ["t2", "h99999"]}, "'h99999' is none of"),
        ({"stackdef": ["b3", "h10"]}, "stackdef has no stack"),
        ({"stackdef": [3]}, "stackdef"),
        ({"backcast_loss_coef": -1}, "backcast_loss_coef"),
        ({"depth": 3}, "unknown template_params: depth; there is: stackdef, backcast_loss_coef"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        TEMPLATES.load("nbeats")(Dimensions(), params)


def test_a_model_waits_for_the_sizes_of_its_series() -> None:
    with pytest.raises(Unbuilt, match="the columns of the series are not known"):
        TEMPLATES.load("nbeats")(Dimensions(steps=4, horizon=2), {})
