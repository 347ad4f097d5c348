"""Vision transformers and visformers: sizes of the papers, flavours, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from torch import nn

from ddstream.data import Dimensions
from ddstream.deepdetect import DeepDetect, DeepDetectError
from ddstream.errors import ParameterError
from ddstream.templates import TEMPLATES

LARGE = Dimensions(outputs=1000, channels=3, height=224, width=224)
SMALL = Dimensions(outputs=3, channels=3, height=64, width=64)
MILLIONS = {
    "vit_tiny_patch16": 5.7,
    "vit_small_patch16": 22.1,
    "vit_base_patch32": 88.2,
    "vit_base_patch16": 86.6,
    "vit_large_patch16": 304.3,
    "vit_large_patch32": 306.5,
    "vit_huge_patch16": 632.0,
    "vit_huge_patch32": 633.0,
}


def built(name: str, dimensions: Dimensions, **params: Any) -> nn.Module:
    return TEMPLATES.load(name)(dimensions, params)


def size(name: str, **params: Any) -> float:
    with torch.device("meta"):
        return sum(p.numel() for p in built(name, LARGE, **params).parameters()) / 1e6


@pytest.mark.promise("templates.vit", "templates.vit.vit_flavor")
@pytest.mark.parametrize("flavour", MILLIONS)
def test_a_vit_has_the_size_of_its_paper(flavour: str) -> None:
    # Parameters of images of 224 x 224 and a thousand classes (Dosovitskiy et al. 2021, table 1).
    assert size("vit", vit_flavor=flavour) == pytest.approx(MILLIONS[flavour], rel=0.01)


def test_the_default_vit_is_base_with_patches_of_16() -> None:
    assert size("vit") == size("vit", vit_flavor="vit_base_patch16")


@pytest.mark.promise("templates.visformer", "templates.visformer.visformer_flavor")
@pytest.mark.parametrize("key", ["visformer_flavor", "visformer_tiny"])
def test_a_visformer_has_the_size_of_its_paper(key: str) -> None:
    # Chen et al. 2021, table 4: 10.3 and 40.2 million.
    assert size("visformer") == size("visformer", **{key: "visformer_tiny"})
    assert size("visformer", **{key: "visformer_tiny"}) == pytest.approx(10.3, abs=0.1)
    assert size("visformer", **{key: "visformer_small"}) == pytest.approx(40.2, abs=0.1)


@pytest.mark.parametrize(
    ("name", "public", "params"),
    [
        ("vit", "vit_tiny_patch16_224", {"vit_flavor": "vit_tiny_patch16"}),
        ("visformer", "visformer_tiny", {}),
    ],
)
def test_public_weights_fit_and_give_the_same(
    name: str, public: str, params: dict[str, Any]
) -> None:
    theirs = timm.create_model(public, pretrained=False).eval()
    ours = built(name, LARGE, **params).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.promise("templates.vit.realformer")
def test_a_realformer_hands_its_scores_on() -> None:
    params = {"vit_flavor": "vit_tiny_patch16"}
    plain, residual = built("vit", SMALL, **params), built("vit", SMALL, realformer=True, **params)
    residual.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 64, 64)
    plain.eval(), residual.eval()
    assert not torch.allclose(plain(images), residual(images))
    # With one block there are no scores before it, so that both are the same model.
    plain.blocks, residual.blocks = plain.blocks[:1], residual.blocks[:1]  # type: ignore[index]
    torch.testing.assert_close(plain(images), residual(images))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("vit", {"vit_flavor": "vit_tiny_patch16"}),
        ("vit", {"vit_flavor": "vit_tiny_patch16", "realformer": True, "dropout": 0.1}),
        ("visformer", {"dropout": 0.1}),
    ],
)
def test_every_weight_learns(name: str, params: dict[str, Any]) -> None:
    model = built(name, SMALL, **params).train()
    loss = nn.functional.cross_entropy(model(torch.rand(2, 3, 64, 64)), torch.tensor([0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "params", "dimensions", "reason"),
    [
        ("vit", {"vit_flavor": "vit_giant"}, SMALL, "unknown ViT flavor vit_giant; there is: vit_"),
        ("vit", {"layers": 3}, SMALL, "unknown template_params: layers; there is: .*realformer"),
        ("vit", {}, Dimensions(outputs=2), "vit needs images of one size"),
        ("vit", {}, Dimensions(height=8, width=64), "16 pixels at least"),
        ("vit", {"dropout": 1.5}, SMALL, "dropout"),
        ("visformer", {"visformer_tiny": "big"}, SMALL, "unknown Visformer flavor big"),
        ("visformer", {"visformer_tiny": "a", "visformer_flavor": "b"}, SMALL, "two flavours"),
        ("visformer", {}, Dimensions(height=65, width=64), "32 divides"),
    ],
)
def test_what_cannot_be_built_is_refused(
    name: str, params: dict[str, Any], dimensions: Dimensions, reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason):
        built(name, dimensions, **params)


@pytest.mark.parametrize("name", ["vit", "visformer"])
def test_a_service_of_it_trains_and_predicts(name: str, tmp_path: Path) -> None:
    params = {"vit_flavor": "vit_tiny_patch16"} if name == "vit" else {}
    for number, colour in enumerate((30, 220)):
        folder = tmp_path / "data" / str(number)
        folder.mkdir(parents=True)
        for each in range(4):
            cv2.imwrite(str(folder / f"{each}.png"), np.full((32, 32, 3), colour + each, np.uint8))
    with DeepDetect() as dd:
        service = dd.create_service(
            name,
            model={"repository": str(tmp_path / "model"), "create_repository": True},
            mllib="torch",
            input_parameters={"connector": "image", "width": 64, "height": 64, "scale": 0.0039},
            mllib_parameters={"template": name, "template_params": params, "nclasses": 2},
        )
        body = service.train(
            [tmp_path / "data", tmp_path / "data"],
            mllib_parameters={
                "solver": {"iterations": 3, "solver_type": "ADAM"},
                "net": {"batch_size": 4},
            },
            output_parameters={"measure": ["acc"]},
        )
        assert body["measure"]["iteration"] == 3
        found = service.predict([tmp_path / "data/0/0.png"], output_parameters={"best": 2})
        assert len(found["predictions"][0]["classes"]) == 2
        with pytest.raises(DeepDetectError, match="unknown template_params"):
            dd.create_service(
                "other",
                model={"repository": str(tmp_path / "other"), "create_repository": True},
                mllib="torch",
                input_parameters={"connector": "image", "width": 64, "height": 64},
                mllib_parameters={"template": name, "template_params": {"flavour": "x"}},
            )
