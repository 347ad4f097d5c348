"""crnn: the sizes of its paper, its steps, what it refuses and what it waits for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates import TEMPLATES
from ddstream.templates.protocol import Unbuilt

LETTERS = Dimensions(channels=1, height=32, width=64, vocabulary=7)
TINY: dict[str, Any] = {"channels": 16, "hidden_size": 8, "num_layers": 1}


def built(dimensions: Dimensions = LETTERS, **params: Any) -> nn.Module:
    return TEMPLATES.load("crnn")(dimensions, params)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.promise("templates.crnn")
def test_it_has_the_size_of_its_paper() -> None:
    # Baek et al. 2019: the residual extractor has 44.3 million parameters.
    with torch.device("meta"):
        model = built(Dimensions(channels=1, vocabulary=37))
    backbone = parameters(model.get_submodule("backbone"))
    assert backbone / 1e6 == pytest.approx(44.3, abs=0.05)
    # Three layers of an LSTM with 256 numbers, and a linear layer.
    gates = 4 * 256
    lstm = gates * (512 + 256 + 2) + 2 * gates * (256 + 256 + 2)
    assert parameters(model) == backbone + lstm + 37 * 256 + 37


@pytest.mark.parametrize(("width", "steps"), [(4, 2), (64, 17), (100, 26), (101, 26)])
def test_an_image_has_a_step_for_every_four_columns(width: int, steps: int) -> None:
    with torch.inference_mode():
        assert built(**TINY).eval()(torch.zeros(2, 1, 32, width)).shape == (steps, 2, 7)
        assert built(**TINY).eval()(torch.zeros(2, 1, 70, width)).shape == (steps, 2, 7)


@pytest.mark.promise("services.torch.timesteps")
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_timesteps_are_as_many_as_asked(steps: int) -> None:
    model = built(timesteps=steps, **TINY).eval()
    with torch.inference_mode():
        assert model(torch.zeros(3, 1, 32, 64)).shape == (steps, 3, 7)


def test_there_are_no_more_timesteps_than_columns_of_pixels() -> None:
    assert built(timesteps=64, **TINY)
    with pytest.raises(ParameterError, match="timesteps 65 do not fit: images have 64 columns"):
        built(timesteps=65, **TINY)


def test_reading_from_both_sides_lets_the_first_step_know_the_last_one() -> None:
    features = torch.rand(1, 16, 32, 6)
    changed = features.clone()
    changed[..., 5:] = 0
    one, both = (built(**TINY, bidirectional=side).eval() for side in (False, True))
    for model in (one, both):
        # The convolutions look to the right, too.
        model.backbone = nn.Identity()
    with torch.inference_mode():
        assert torch.equal(one(features)[0], one(changed)[0])
        assert not torch.equal(both(features)[0], both(changed)[0])
    assert parameters(both.get_submodule("reading.lstm")) == 2 * parameters(
        one.get_submodule("reading.lstm")
    )


def test_weights_of_earlier_versions_fit() -> None:
    model = built(**TINY)
    earlier = {name.removeprefix("reading."): each for name, each in model.state_dict().items()}
    assert "lstm.weight_hh_l0" in earlier
    model.load_state_dict(model.translated(earlier))  # type: ignore[operator]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("both", [False, True])
def test_every_weight_learns(channels: int, both: bool) -> None:
    dimensions = Dimensions(channels=channels, vocabulary=7)
    model = built(dimensions, **{**TINY, "num_layers": 2}, bidirectional=both).train()
    scores = model(torch.rand(3, channels, 32, 64)).log_softmax(-1)
    lengths = torch.tensor([2, 3, 1])
    loss = nn.functional.ctc_loss(
        scores, torch.tensor([1, 2, 3, 3, 4, 6]), torch.full((3,), len(scores)), lengths
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_it_waits_for_an_alphabet_unless_its_size_is_said() -> None:
    with pytest.raises(Unbuilt, match="no alphabet yet"):
        built(Dimensions(channels=1))
    for dimensions, size in (
        (Dimensions(outputs=9), 9),
        (Dimensions(outputs=9, vocabulary=5), 5),
    ):
        assert built(dimensions, **TINY).get_parameter("reading.projection.bias").numel() == size


def test_images_of_which_nothing_would_be_left_are_refused() -> None:
    for shape in ((31, 64), (32, 3)):
        with pytest.raises(InputError, match="4 x 32 pixels at least"):
            built(**TINY)(torch.zeros(1, 1, *shape))
        with pytest.raises(ParameterError, match="4 x 32 pixels at least"):
            built(Dimensions(height=shape[0], width=shape[1], vocabulary=7))


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"backbone": "vgg"}, "unknown backbone vgg; there is: resnet"),
        ({"timesteps": 0}, "timesteps must be -1 or at least 1"),
        ({"channels": 20}, r"template_params\.channels"),
        ({"hidden_size": 0}, r"template_params\.hidden_size"),
        ({"depth": 3}, "unknown template_params: depth; there is: timesteps"),
    ],
)
def test_a_parameter_that_it_cannot_use_is_refused(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        built(**params)
