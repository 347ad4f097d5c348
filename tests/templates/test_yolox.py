"""YOLOX: its sizes, its losses, and what it finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates import TEMPLATES
from ddstream.templates.yolox.assignment import Assigned, Said, assigned
from ddstream.templates.yolox.head import Cells, Raw
from ddstream.templates.yolox.losses import losses, overlap
from ddstream.templates.yolox.model import Yolox
from examples.scenes import Scenes, made

PAPER = {"nano": 0.91, "tiny": 5.06, "s": 9.0, "m": 25.3, "l": 54.2, "x": 99.1}
"""Millions of parameters for the 80 classes of COCO (Ge et al. 2021, tables 3 and 4)."""
TINY = {"width": 0.125}


def built(classes: int = 3, **params: Any) -> Yolox:
    torch.manual_seed(0)
    model = TEMPLATES.load("yolox")(Dimensions(outputs=classes), params or TINY)
    assert isinstance(model, Yolox)
    return model


@pytest.mark.promise("templates.yolox")
@pytest.mark.parametrize("name", PAPER)
def test_a_flavour_has_as_many_parameters_as_in_the_paper(name: str) -> None:
    with torch.device("meta"):
        model = built(80, yolox_flavor=f"yolox_{name}")
    count = sum(p.numel() for p in model.parameters()) / 1e6
    digits = len(str(PAPER[name]).split(".")[1])
    assert round(count, digits) == pytest.approx(PAPER[name], abs=0.051 if digits == 1 else 0.006)


def test_parameters_are_named_as_in_the_published_weights() -> None:
    with torch.device("meta"):
        names = list(built(80, yolox_flavor="yolox_nano").state_dict())
    for name in (
        "backbone.backbone.stem.conv.conv.weight",
        "backbone.backbone.dark2.0.dconv.conv.weight",
        "backbone.backbone.dark5.1.conv1.bn.running_mean",
        "backbone.backbone.dark5.2.m.0.conv2.pconv.conv.weight",
        "backbone.lateral_conv0.conv.weight",
        "backbone.C3_p4.conv3.bn.weight",
        "backbone.bu_conv2.dconv.conv.weight",
        "head.cls_convs.2.1.pconv.bn.bias",
        "head.stems.0.conv.weight",
        "head.obj_preds.1.bias",
    ):
        assert name in names


def test_its_size_can_be_changed() -> None:
    small = sum(p.numel() for p in built(width=0.125, depth=0.33).parameters())
    assert small < sum(p.numel() for p in built(width=0.125, depth=1.0).parameters())
    assert small > sum(p.numel() for p in built(width=0.125, depthwise=True).parameters())


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"yolox_flavor": "yolox_xxl"}, "unknown yolox flavor yolox_xxl; there is: yolox_nano"),
        ({"flavor": "s"}, "unknown template_params: flavor; there is: nclasses, yolox_flavor"),
        ({"width": 0}, r"template_params\.width"),
    ],
)
def test_what_it_cannot_be_built_with_is_refused(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        built(**params)


def test_it_needs_to_know_its_classes() -> None:
    with pytest.raises(ParameterError, match="nclasses"):
        TEMPLATES.load("yolox")(Dimensions(), {})
    with torch.device("meta"):
        model = TEMPLATES.load("yolox")(Dimensions(), {"nclasses": 5})
    assert model.get_parameter("head.cls_preds.0.bias").shape == (5,)


def test_every_parameter_learns_and_images_may_have_no_objects() -> None:
    model = built()
    images = torch.rand(3, 3, 64, 96)
    ids, labels = torch.tensor([0, 0, 2]), torch.tensor([1, 3, 2])
    boxes = torch.tensor([[4.0, 4, 40, 40], [30, 20, 90, 60], [10, 10, 26, 30]])
    found = model(images, ids, boxes, labels)
    assert set(found) == {"iou_loss", "l1_loss", "conf_loss", "cls_loss"}
    sum(found.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    nothing = model(images, ids[:0], boxes[:0], labels[:0])
    assert nothing["iou_loss"] == nothing["l1_loss"] == nothing["cls_loss"] == 0
    assert nothing["conf_loss"].isfinite()


@pytest.mark.parametrize("size", [(64, 64), (33, 70), (7, 5)])
def test_images_of_any_size_are_looked_at(size: tuple[int, int]) -> None:
    model = built().eval()
    for end in (*model.head.cls_preds, *model.head.obj_preds):
        torch.nn.init.constant_(end.bias, 1.0)
    with torch.inference_mode():
        found = model(torch.rand(2, 3, *size))
    assert len(found) == 2
    for each in found:
        count = len(each["scores"])
        assert count > 0
        assert each["boxes"].shape == (count, 4)
        assert each["boxes"].min() >= 0
        assert (each["boxes"][:, 2] <= size[1]).all()
        assert (each["boxes"][:, 3] <= size[0]).all()
        assert set(each["labels"].tolist()) <= {1, 2, 3}
        assert (each["scores"].diff() <= 0).all()


def test_the_same_seed_makes_the_same_model() -> None:
    images = torch.rand(1, 3, 64, 64)
    first, second = (built().eval()(images) for _ in range(2))
    assert all((first[0][name] == second[0][name]).all() for name in first[0])


def test_offsets_are_what_the_boxes_are_made_of() -> None:
    cells = Cells(torch.tensor([[0.0, 0], [8, 0], [16, 32]]), torch.tensor([8.0, 8, 16]))
    boxes = torch.tensor([[5.0, 3, 10, 20], [9, 9, 4, 4], [30, 40, 33, 17]])
    raw = Raw(torch.zeros(1, 3, 4), torch.zeros(1, 3), torch.zeros(1, 3, 2), cells)
    assert raw.boxes[0, 2].tolist() == [16, 32, 16, 16]
    targets = [{"boxes": boxes_of(boxes), "labels": torch.tensor([1, 1, 2])}]
    found = losses(raw, targets)
    assert found["l1_loss"] > 0
    known = Raw(offsets(boxes, cells)[None], torch.zeros(1, 3), torch.zeros(1, 3, 2), cells)
    assert torch.allclose(known.boxes[0], boxes)
    assert losses(known, targets)["iou_loss"] < 1e-5


def test_overlaps_of_pairs_are_those_of_torchvision() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(50, 4, generator=generator) * 10 + 1
    others = torch.rand(50, 4, generator=generator) * 10 + 1
    expected = box_iou(boxes_of(boxes), boxes_of(others)).diagonal()
    assert torch.allclose(overlap(boxes, others), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_objects_get_the_cells_that_the_paper_gives_them(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = [
        (x * stride, y * stride, stride)
        for stride in (8, 16, 32)
        for y in range(64 // stride)
        for x in range(64 // stride)
    ]
    grid = torch.tensor(corners, dtype=torch.float32)
    cells = Cells(grid[:, :2], grid[:, 2])
    count = len(corners)
    said = Said(
        torch.cat(
            (
                torch.rand(count, 2, generator=generator) * 64,
                torch.rand(count, 2, generator=generator) * 40 + 4,
            ),
            1,
        ),
        torch.randn(count, generator=generator),
        torch.randn(count, 3, generator=generator),
    )
    # The last two lie over each other.
    boxes = torch.rand(4, 4, generator=generator) * 40 + 8
    boxes = torch.cat((boxes, boxes[-1:] + 1))
    classes = torch.tensor([0, 1, 2, 0, 0])
    found = assigned(said, boxes, classes, cells)
    assert pairs(found) == by_hand(said, boxes, classes, cells)
    rows = box_iou(boxes_of(boxes), boxes_of(said.boxes))
    assert torch.allclose(found.overlaps, rows[found.objects, found.cells])


def test_it_learns_scenes_by_heart() -> None:
    scenes = made("train", Scenes(train=4, side=64, digits=2, objects=2))
    images = torch.from_numpy(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2) / 255
    rows = torch.tensor([(i, *row) for i, each in enumerate(scenes) for row in each.rows])
    ids, labels, boxes = rows[:, 0], rows[:, 1], rows[:, 2:].float()
    model = built(2, width=0.125).train()
    solver = torch.optim.Adam(model.parameters(), 5e-3)
    first = sum(model(images, ids, boxes, labels).values()).item()
    for _ in range(40):
        total = sum(model(images, ids, boxes, labels).values())
        solver.zero_grad()
        total.backward()
        solver.step()
    assert total.item() < first / 2


def boxes_of(boxes: torch.Tensor) -> torch.Tensor:
    """Corners of centres and sizes."""
    half = boxes[:, 2:] / 2
    return torch.cat((boxes[:, :2] - half, boxes[:, :2] + half), 1)


def offsets(boxes: torch.Tensor, cells: Cells) -> torch.Tensor:
    strides = cells.strides[:, None]
    return torch.cat(((boxes[:, :2] - cells.corners) / strides, (boxes[:, 2:] / strides).log()), 1)


def pairs(found: Assigned) -> set[tuple[int, int]]:
    return set(zip(found.cells.tolist(), found.objects.tolist(), strict=True))


def by_hand(
    said: Said, boxes: torch.Tensor, classes: torch.Tensor, cells: Cells
) -> set[tuple[int, int]]:
    """SimOTA, object by object and cell by cell."""
    overlaps = box_iou(boxes_of(boxes), boxes_of(said.boxes)).double().numpy()
    centres, strides = cells.centres.numpy(), cells.strides.numpy()
    scores = (said.classes.sigmoid() * said.objectness.sigmoid()[:, None]).sqrt().double().numpy()
    cost = np.full(overlaps.shape, np.inf)
    near_any = set()
    for g, (x, y, wide, high) in enumerate(boxes.tolist()):
        for a in range(len(centres)):
            dx, dy = abs(centres[a][0] - x), abs(centres[a][1] - y)
            inside = dx < wide / 2 and dy < high / 2
            near = max(dx, dy) < 2.5 * strides[a]
            if inside or near:
                near_any.add(a)
            hot = np.eye(3)[classes[g]]
            entropy = -(hot * np.log(scores[a]) + (1 - hot) * np.log(1 - scores[a])).sum()
            far = 0 if inside and near else 1e5
            cost[g, a] = entropy - 3 * np.log(overlaps[g, a] + 1e-8) + far
    able = sorted(near_any)
    wanted: dict[int, list[int]] = {}
    for g in range(len(boxes)):
        best = sorted(overlaps[g, able], reverse=True)[:10]
        for a in sorted(able, key=lambda a: cost[g, a])[: max(1, int(sum(best)))]:
            wanted.setdefault(a, []).append(g)
    return {
        (a, objects[0] if len(objects) == 1 else int(cost[:, a].argmin()))
        for a, objects in wanted.items()
    }
