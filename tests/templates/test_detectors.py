"""Faster R-CNN, RetinaNet and DETR: the same as the libraries they come from, and our contract."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from transformers.models.detr.modeling_detr import DetrForObjectDetection

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates import TEMPLATES
from ddstream.templates.detection import CANDIDATES, FLOOR, MOST, Candidates, Detector, chosen

PARAMS: Mapping[str, Mapping[str, Any]] = {
    "fasterrcnn": {"backbone": "resnet18"},
    "retinanet": {"backbone": "resnet18", "anchor_sizes": [8, 16, 32, 64, 128]},
    "detr": {
        "backbone": "resnet18",
        "num_queries": 12,
        "hidden_dim": 32,
        "heads": 4,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "feedforward": 32,
        "dropout": 0.0,
    },
}
LOSSES = {
    "fasterrcnn": {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"},
    "retinanet": {"classification", "bbox_regression"},
    "detr": {
        f"{name}{layer}"
        for name in ("loss_ce", "loss_bbox", "loss_giou", "cardinality_error")
        for layer in ("", "_0")
    },
}
CASES = [pytest.param(name, marks=pytest.mark.promise(f"templates.{name}")) for name in PARAMS]
IDS, LABELS = torch.tensor([1, 1, 1]), torch.tensor([1, 3, 2])
BOXES = torch.tensor([[4.0, 4, 40, 40], [30, 20, 60, 60], [10, 10, 26, 30]])


@cache
def shared(name: str) -> Any:
    """A detector of three classes with weights that no test changes."""
    torch.manual_seed(0)
    return TEMPLATES.load(name)(Dimensions(outputs=3), PARAMS[name]).eval()


def reset(model: Any) -> Any:
    """The shared detector with the options that a model has at first."""
    model.nms_threshold, model.top_k, model.with_logits, model.rois = 0.45, -1, False, ""
    return model


def images(count: int = 2, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CASES)
def test_a_detector_gives_its_losses_and_all_of_it_learns(name: str) -> None:
    torch.manual_seed(0)
    model = TEMPLATES.load(name)(Dimensions(outputs=3), PARAMS[name]).train()
    found = model(images(), IDS, BOXES, LABELS)
    assert set(found) == LOSSES[name] | {"total_loss"}
    found["total_loss"].backward()
    assert all(p.requires_grad for p in model.parameters())
    still = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert still == []
    nothing = model(images(), IDS[:0], BOXES[:0], LABELS[:0])
    assert nothing["total_loss"].isfinite()


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("size", [(64, 64), (70, 45), (33, 96)])
def test_images_of_any_size_are_looked_at(name: str, size: tuple[int, int]) -> None:
    model = reset(shared(name))
    model.with_logits = True
    with torch.inference_mode():
        found = model(images(2, size))
    assert len(found) == 2
    columns = 3 if name == "retinanet" else 4
    for each in found:
        count = len(each["scores"])
        assert 0 < count <= MOST
        assert each["boxes"].shape == (count, 4)
        assert each["logits"].shape == (count, columns)
        assert each["boxes"].min() >= 0
        assert (each["boxes"][:, 2:] <= torch.tensor([size[1], size[0]])).all()
        assert set(each["labels"].tolist()) <= {1, 2, 3}
        assert (each["scores"].diff() <= 0).all()


@pytest.mark.parametrize("name", ["fasterrcnn", "detr"])
def test_logits_are_what_scores_are_made_of(name: str) -> None:
    model = reset(shared(name))
    model.with_logits = True
    with torch.inference_mode():
        (found,) = model(images(1))
    # The background is in front of the classes.
    shares = found["logits"].softmax(-1)
    scores = shares.gather(1, found["labels"][:, None]).squeeze(1)
    assert torch.allclose(scores, found["scores"], atol=1e-5)


def test_logits_of_retinanet_are_of_its_classes_alone() -> None:
    model = reset(shared("retinanet"))
    model.with_logits = True
    with torch.inference_mode():
        (found,) = model(images(1))
    scores = found["logits"].sigmoid().gather(1, found["labels"][:, None] - 1).squeeze(1)
    assert torch.allclose(scores, found["scores"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "library"), [("fasterrcnn", FasterRCNN), ("retinanet", RetinaNet)]
)
def test_a_detector_is_that_of_torchvision(name: str, library: Any) -> None:
    model = deepcopy(reset(shared(name)))
    if name == "retinanet":
        # Few candidates, so that none of their limits matters, and class 0 never.
        last = model.head.classification_head.cls_logits
        last.weight.data *= 50
        last.bias.data.view(-1, 4)[:] -= torch.tensor([100.0, 0.5, 0.5, 0.5])
    neutral = {"min_size": 64, "max_size": 64, "image_mean": [0] * 3, "image_std": [1] * 3}
    limits = {"score_thresh": FLOOR, "nms_thresh": 0.45, "detections_per_img": MOST}
    if name == "fasterrcnn":
        limits = {f"box_{option}": value for option, value in limits.items()}
        parts = {"rpn_anchor_generator": model.rpn.anchor_generator}
    else:
        parts = {"anchor_generator": model.anchor_generator}
        limits["topk_candidates"] = CANDIDATES
    theirs = library(model.backbone, 4, **neutral, **limits, **parts)
    theirs.load_state_dict(model.state_dict())
    with torch.inference_mode():
        for mine, other in zip(model(images()), theirs.eval()(list(images())), strict=True):
            assert len(mine["scores"]) > 0
            for key in ("boxes", "labels", "scores"):
                assert torch.allclose(mine[key], other[key], atol=1e-4)


def test_losses_are_those_of_torchvision() -> None:
    model = reset(shared("retinanet"))
    theirs = RetinaNet(
        model.backbone,
        4,
        anchor_generator=model.anchor_generator,
        min_size=64,
        max_size=64,
        image_mean=[0] * 3,
        image_std=[1] * 3,
    )
    theirs.load_state_dict(model.state_dict())
    targets = [{"boxes": BOXES[:0], "labels": LABELS[:0]}, {"boxes": BOXES, "labels": LABELS}]
    with torch.no_grad():
        mine = model(images(), IDS, BOXES, LABELS)
        theirs.training = True
        other = theirs(list(images()), targets)
    assert {name: mine[name].item() for name in other} == pytest.approx(
        {name: each.item() for name, each in other.items()}
    )


def test_detr_is_that_of_transformers() -> None:
    model = reset(shared("detr"))
    theirs = DetrForObjectDetection(model.config)
    theirs.train(False)
    theirs.load_state_dict(model.state_dict(), strict=False)
    with torch.inference_mode():
        other = theirs(images())
        mine = model(images())
    for i, each in enumerate(mine):
        scores = other.logits[i].softmax(-1)[:, :-1].max(-1).values
        assert len(each["scores"]) > 0
        assert all(torch.isclose(scores, score, atol=1e-5).any() for score in each["scores"])


def test_options_of_a_pass_act() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6], [20, 20, 30, 30]])
    candidates = Candidates(
        boxes, torch.tensor([0.6, 0.9, 0.8, 0.7]), torch.tensor([1, 1, 1, 1]), torch.zeros(4, 2)
    )
    by = Detector()
    assert chosen(candidates, by, 50, 50)["scores"].tolist() == pytest.approx([0.9, 0.7])
    by.nms_threshold = 0.76
    assert len(chosen(candidates, by, 50, 50)["scores"]) == 3
    by.nms_threshold = 1.0
    assert len(chosen(candidates, by, 50, 50)["scores"]) == 4
    by.top_k = 2
    assert chosen(candidates, by, 50, 50)["scores"].tolist() == pytest.approx([0.9, 0.8])
    apart = Candidates(boxes, candidates.scores, torch.tensor([1, 2, 3, 1]), candidates.logits)
    by.top_k, by.nms_threshold = -1, 0.1
    assert len(chosen(apart, by, 50, 50)["scores"]) == 4


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.promise("predict.output.nms_threshold", "predict.output.top_k")
def test_every_detector_heeds_them(name: str) -> None:
    model = reset(shared(name))
    with torch.inference_mode():
        usual = len(model(images(1))[0]["scores"])
        model.nms_threshold = 1.0
        all_of_them = len(model(images(1))[0]["scores"])
        model.top_k = 2
        two = len(model(images(1))[0]["scores"])
        model.nms_threshold, model.top_k = 0.0, -1
        few = len(model(images(1))[0]["scores"])
    assert few <= usual <= all_of_them
    assert few < all_of_them
    assert two == 2


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        ("roi_heads.box_roi_pool", 256 * 7 * 7),
        ("roi_heads.box_head", 1024),
        ("roi_heads.box_head.fc6", 1024),
    ],
)
def test_features_of_faster_rcnn_are_of_the_boxes_it_answers(layer: str, size: int) -> None:
    model = reset(shared("fasterrcnn"))
    assert layer in model.roi_layers
    model.rois = layer
    with torch.inference_mode():
        found = model(images(2))
        again = model(images(2)[1:])
    assert all(each["features"].shape == (len(each["scores"]), size) for each in found)
    assert torch.allclose(found[1]["features"], again[0]["features"], atol=1e-4)
    assert reset(shared("retinanet")).roi_layers == ()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", PARAMS)
def test_numbers_of_other_types_do(name: str, kind: torch.dtype) -> None:
    model = deepcopy(reset(shared(name))).to(kind)
    with torch.inference_mode():
        found = model(images(1).to(kind))
    assert found[0]["boxes"].dtype == torch.float32
    assert len(found[0]["scores"]) > 0


@pytest.mark.parametrize("backbone", ["mobilenet_v3_large", "mobilenet_v3_small"])
@pytest.mark.parametrize("name", ["fasterrcnn", "retinanet"])
def test_mobile_backbones_can_be_chosen(name: str, backbone: str) -> None:
    model = TEMPLATES.load(name)(Dimensions(outputs=3), {"backbone": backbone}).eval()
    assert all(p.requires_grad for p in model.parameters())
    with torch.inference_mode():
        assert len(model(images(1))) == 1


@pytest.mark.parametrize("name", PARAMS)
def test_layers_of_the_backbone_can_be_held(name: str) -> None:
    def learning(layers: int) -> set[str]:
        params = {**PARAMS[name], "trainable_layers": layers}
        model = TEMPLATES.load(name)(Dimensions(outputs=3), params)
        backbone = model.get_submodule("model.backbone" if name == "detr" else "backbone.body")
        return {n.replace("model.", "") for n, p in backbone.named_parameters() if p.requires_grad}

    assert learning(0) == set()
    assert {n.split(".")[0] for n in learning(2)} == {"layer3", "layer4"}
    assert {"conv1.weight", "bn1.weight"} <= learning(5)


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"backbone": "vgg11"}, "unknown backbone vgg11; there is: resnet18"),
        ({"flavor": 1}, "unknown template_params: flavor"),
        ({"trainable_layers": 9}, r"template_params\.trainable_layers"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, params: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        TEMPLATES.load(name)(Dimensions(outputs=2), params)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParameterError, match="anchor_sizes: 5 sizes of at least 1 are needed"):
        TEMPLATES.load("retinanet")(Dimensions(outputs=2), {"anchor_sizes": [16]})
    with pytest.raises(ParameterError, match="a multiple of twice the heads"):
        TEMPLATES.load("detr")(Dimensions(outputs=2), {"hidden_dim": 100})
    for name in PARAMS:
        with pytest.raises(ParameterError, match="a detector needs"):
            TEMPLATES.load(name)(Dimensions(), {})


def test_batch_norms_of_detr_learn() -> None:
    norms = [each for each in shared("detr").modules() if isinstance(each, nn.BatchNorm2d)]
    assert len(norms) == 20
