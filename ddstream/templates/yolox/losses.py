"""What YOLOX is trained by: the losses of boxes, of their offsets, of objectness and of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional
from torchvision.ops import box_convert

from ddstream.templates.detection import Targets
from ddstream.templates.yolox.assignment import Assigned, Said, assigned
from ddstream.templates.yolox.head import Cells, Raw

TINY = 1e-8
Losses = dict[str, torch.Tensor]


def losses(raw: Raw, targets: Targets) -> Losses:
    """Each a scalar, by the number of cells that answer for an object.

    `iou_loss` is one minus the square of the overlap, `l1_loss` of the offsets, `conf_loss` and
    `cls_loss` cross-entropies; a cell's class is to be as sure as its box fits.
    """
    boxes = raw.boxes
    objects = [
        (box_convert(each["boxes"].float(), "xyxy", "cxcywh"), each["labels"] - 1)
        for each in targets
    ]
    found = _assigned(raw, boxes, objects)
    images = torch.cat([torch.full_like(each.cells, i) for i, each in enumerate(found)])
    cells = torch.cat([each.cells for each in found])
    wanted = torch.cat([own[each.objects] for (own, _), each in zip(objects, found, strict=True)])
    labels = torch.cat([own[each.objects] for (_, own), each in zip(objects, found, strict=True)])
    sure = torch.cat([each.overlaps for each in found])
    hot = functional.one_hot(labels, raw.classes.shape[-1]) * sure[:, None]
    answers = torch.zeros_like(raw.objectness)
    answers[images, cells] = 1
    count = max(1, len(cells))
    sums = {
        "iou_loss": (1 - overlap(boxes[images, cells], wanted) ** 2).sum(),
        "l1_loss": (raw.offsets[images, cells] - _offsets(wanted, raw.cells, cells)).abs().sum(),
        "conf_loss": _cross_entropy(raw.objectness, answers),
        "cls_loss": _cross_entropy(raw.classes[images, cells], hot),
    }
    return {name: each / count for name, each in sums.items()}


def overlap(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes P x 4 (centre, size) and others, pair by pair."""
    lower = torch.maximum(boxes[:, :2] - boxes[:, 2:] / 2, others[:, :2] - others[:, 2:] / 2)
    upper = torch.minimum(boxes[:, :2] + boxes[:, 2:] / 2, others[:, :2] + others[:, 2:] / 2)
    shared = (upper - lower).clamp_min(0).prod(1)
    found: torch.Tensor = shared / (boxes[:, 2:].prod(1) + others[:, 2:].prod(1) - shared + TINY)
    return found


def _assigned(
    raw: Raw, boxes: torch.Tensor, objects: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> list[Assigned]:
    return [
        assigned(
            Said(boxes[i].detach(), raw.objectness[i].detach(), raw.classes[i].detach()),
            own,
            labels,
            raw.cells,
        )
        if len(own)
        else _nothing(boxes)
        for i, (own, labels) in enumerate(objects)
    ]


def _nothing(like: torch.Tensor) -> Assigned:
    none = torch.empty(0, dtype=torch.int64, device=like.device)
    return Assigned(none, none, like.new_empty(0))


def _offsets(boxes: torch.Tensor, cells: Cells, which: torch.Tensor) -> torch.Tensor:
    """What the head would have to say of boxes P x 4 (centre, size) in these cells."""
    strides = cells.strides[which][:, None]
    centres = (boxes[:, :2] - cells.corners[which]) / strides
    return torch.cat((centres, (boxes[:, 2:] / strides + TINY).log()), 1)


def _cross_entropy(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
