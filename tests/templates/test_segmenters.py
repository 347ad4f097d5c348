"""segformer and deeplabv3: sizes of the papers, public weights, shapes, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3 as networks
from transformers import SegformerConfig
from transformers.models.segformer.modeling_segformer import SegformerForSemanticSegmentation

from ddstream.backends.torch.network.model import fill
from ddstream.backends.torch.network.weights import read_state
from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates import TEMPLATES

FOUR = Dimensions(outputs=4)
TINY: dict[str, Any] = {
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "heads": [1, 1, 2, 2],
    "decoder_hidden_size": 8,
}
MOBILE: dict[str, Any] = {"backbone": "mobilenet_v3_large"}
MILLIONS = {"b0": 3.8, "b1": 13.7, "b2": 27.5, "b3": 47.3, "b4": 64.1, "b5": 84.7}


def built(name: str, dimensions: Dimensions = FOUR, **params: Any) -> nn.Module:
    return TEMPLATES.load(name)(dimensions, params)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.promise("templates.segformer")
@pytest.mark.parametrize("flavour", MILLIONS)
def test_a_segformer_has_the_size_of_its_paper(flavour: str) -> None:
    # Xie et al. 2021, table 1a: encoder and decoder, for the 150 classes of ADE20K.
    with torch.device("meta"):
        model = built("segformer", Dimensions(outputs=150), segformer_flavor=flavour)
    assert parameters(model) / 1e6 == pytest.approx(MILLIONS[flavour], abs=0.051)


@pytest.mark.promise("templates.deeplabv3")
@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "mobilenet_v3_large"])
def test_a_deeplab_has_the_public_names_of_its_weights(backbone: str) -> None:
    with torch.device("meta"):
        ours = built("deeplabv3", Dimensions(outputs=21), backbone=backbone)
        theirs = getattr(networks, f"deeplabv3_{backbone}")(
            weights=None, weights_backbone=None, num_classes=21, aux_loss=False
        )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert parameters(ours) == parameters(theirs)
    with torch.device("meta"):
        assert parameters(built("deeplabv3", Dimensions(outputs=21))) > 39e6


def test_a_deeplab_gives_what_torchvision_gives_and_knows_no_second_head() -> None:
    theirs: nn.Module = networks.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4, aux_loss=True
    ).eval()
    ours = built("deeplabv3", **MOBILE).eval()
    fill(ours, theirs.state_dict(), "public.pt")
    images = torch.rand(1, 3, 48, 40)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images)["out"])


def test_public_weights_of_a_segformer_fit_and_give_the_same(tmp_path: Path) -> None:
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
    )
    config.num_labels = 4
    theirs = SegformerForSemanticSegmentation(config)
    theirs.train(mode=False)
    # The file has the names of public checkpoints, not those of the class.
    theirs.save_pretrained(tmp_path)
    state = read_state(tmp_path / "model.safetensors")
    assert "segformer.encoder.block.0.0.attention.self.query.weight" in state
    images = torch.rand(2, 3, 64, 48)
    with torch.inference_mode():
        expected = nn.functional.interpolate(theirs(images).logits, (64, 48), mode="bilinear")
        for given in (state, theirs.state_dict()):
            ours = built("segformer", **TINY).eval()
            assert fill(ours, dict(given), "model.safetensors") == []
            torch.testing.assert_close(ours(images), expected)


@pytest.mark.parametrize(("name", "params"), [("segformer", TINY), ("deeplabv3", MOBILE)])
def test_every_weight_learns_and_every_pixel_has_its_scores(
    name: str, params: dict[str, Any]
) -> None:
    model = built(name, **params).train()
    scores = model(torch.rand(2, 3, 40, 72))
    assert scores.shape == (2, 4, 40, 72)
    nn.functional.cross_entropy(scores, torch.randint(4, (2, 40, 72))).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_deeplab_learns_from_single_images() -> None:
    torch.manual_seed(0)
    model = built("deeplabv3", **MOBILE).train()
    pooled = model.get_submodule("classifier.0.convs.4.2")
    assert isinstance(pooled, nn.BatchNorm2d)
    before = pooled.running_mean
    assert before is not None
    before = before.clone()
    assert model(torch.rand(1, 3, 64, 64)).isfinite().all()
    assert torch.equal(pooled.running_mean, before)  # type: ignore[arg-type]
    model(torch.rand(2, 3, 64, 64))
    assert not torch.equal(pooled.running_mean, before)  # type: ignore[arg-type]


def test_a_segformer_refuses_images_of_which_nothing_would_be_left() -> None:
    with pytest.raises(InputError, match="32 pixels at least"):
        built("segformer", **TINY)(torch.zeros(1, 3, 31, 64))
    with torch.inference_mode():
        assert built("segformer", **TINY).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 4, 32, 32)


@pytest.mark.parametrize(
    ("name", "params", "dimensions", "reason"),
    [
        (
            "segformer",
            {"segformer_flavor": "b9"},
            FOUR,
            "unknown segformer flavor b9; there is: b0",
        ),
        ("segformer", {"layers": 3}, FOUR, "unknown template_params: layers; there is: .*depths"),
        ("segformer", {"depths": [1, 1]}, FOUR, "depths has a number for each of 4 stages"),
        ("segformer", {"heads": [3, 1, 1, 1]}, FOUR, "3 heads cannot share 32 numbers"),
        ("segformer", {}, Dimensions(height=16, width=64), "32 pixels at least"),
        ("segformer", {"nclasses": 3}, FOUR, "nclasses is 3, but 4"),
        ("deeplabv3", {"backbone": "vgg"}, FOUR, "unknown backbone vgg; there is: resnet50"),
        ("deeplabv3", {"aux_loss": True}, FOUR, "unknown template_params: aux_loss"),
    ],
)
def test_what_cannot_be_built_is_refused(
    name: str, params: dict[str, Any], dimensions: Dimensions, reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason):
        built(name, dimensions, **params)
