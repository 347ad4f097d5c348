"""The residual networks: sizes, names and parameters."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates import TEMPLATES

SIZES = {
    "resnet18": 11_177_538,
    "resnet34": 21_285_698,
    "resnet50": 23_512_130,
    "resnet101": 42_504_258,
    "resnet152": 58_147_906,
    "resnext50_32x4d": 22_984_002,
    "resnext101_32x8d": 86_746_434,
    "wideresnet50_2": 66_838_338,
    "wideresnet101_2": 124_841_794,
}
TORCHVISION = {"wideresnet50_2": "wide_resnet50_2", "wideresnet101_2": "wide_resnet101_2"}
CASES = [pytest.param(name, marks=pytest.mark.promise(f"templates.{name}")) for name in SIZES]


@pytest.mark.parametrize("name", CASES)
def test_a_template_has_its_size_and_the_public_names_of_its_weights(name: str) -> None:
    with torch.device("meta"):
        model = TEMPLATES.load(name)(Dimensions(outputs=2), {})
        public = getattr(resnet, TORCHVISION.get(name, name))(weights=None, num_classes=2)
    assert sum(p.numel() for p in model.parameters()) == SIZES[name]
    assert list(model.state_dict()) == list(public.state_dict())


def test_all_nine_are_in_the_table() -> None:
    assert set(SIZES) <= set(TEMPLATES)


def test_a_model_runs_and_has_as_many_outputs_as_asked() -> None:
    model = TEMPLATES.load("resnet18")(Dimensions(outputs=3), {}).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_the_head_may_be_sized_by_template_params() -> None:
    with torch.device("meta"):
        assert (
            TEMPLATES.load("resnet18")(Dimensions(outputs=0), {"nclasses": 7})
            .get_parameter("fc.bias")
            .numel()
            == 7
        )
        assert (
            TEMPLATES.load("resnet18")(Dimensions(outputs=0), {}).get_parameter("fc.bias").numel()
            == 1000
        )


def test_two_sizes_of_one_head_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"template_params\.nclasses is 7, but 3"):
        TEMPLATES.load("resnet18")(Dimensions(outputs=3), {"nclasses": 7})


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"depth": 3}, "unknown template_params: depth; there is: nclasses"),
        ({"nclasses": "many"}, r"template_params\.nclasses"),
        ({"nclasses": 0}, r"template_params\.nclasses"),
    ],
)
def test_a_parameter_that_a_template_cannot_use_is_refused(
    params: dict[str, object], text: str
) -> None:
    with pytest.raises(ParameterError, match=text):
        TEMPLATES.load("resnet18")(Dimensions(outputs=2), params)
