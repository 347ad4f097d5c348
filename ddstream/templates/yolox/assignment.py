"""SimOTA: which cells answer for which object of an image (Ge et al. 2021, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional
from torchvision.ops import box_convert, box_iou

from ddstream.templates.yolox.head import Cells

REACH = 2.5
"""Strides from an object's centre within which cells are near it."""
SUMMED = 10
"""How many of the best overlaps say how many cells an object gets."""
OVERLAP_COST = 3.0
FAR_COST = 1e5
"""Of a cell that is not both near an object's centre and in its box."""
TINY = 1e-8


@dataclass(frozen=True, slots=True)
class Said:
    """What the model says of one image: boxes A x 4 (centre, size), logits A and A x C."""

    boxes: torch.Tensor
    objectness: torch.Tensor
    classes: torch.Tensor


@dataclass(frozen=True, slots=True)
class Assigned:
    """The P cells that have an object: their numbers, the object of each, and the overlap."""

    cells: torch.Tensor
    objects: torch.Tensor
    overlaps: torch.Tensor


@torch.no_grad()
def assigned(said: Said, boxes: torch.Tensor, classes: torch.Tensor, cells: Cells) -> Assigned:
    """Give each object of an image its cells: those of the lowest cost, which is low where the
    model is right already. Boxes G x 4 are centre and size, classes G count from 0.

    An object gets as many cells as its best overlaps add up to, one at least; a cell wanted by
    several objects goes to the one that it costs least.
    """
    candidates, fitting = _geometry(boxes, cells)
    overlaps = box_iou(_corners(boxes), _corners(said.boxes[candidates]))
    cost = (
        _class_cost(said.objectness[candidates], said.classes[candidates], classes)
        - OVERLAP_COST * (overlaps + TINY).log()
        + FAR_COST * ~fitting[:, candidates]
    )
    taken = _cheapest(cost, overlaps)
    several = taken.sum(0) > 1
    best = functional.one_hot(cost.argmin(0), len(boxes)).T.bool()
    taken = torch.where(several, best, taken)
    places, objects = taken.T.nonzero(as_tuple=True)
    return Assigned(candidates[places], objects, overlaps[objects, places])


def _geometry(boxes: torch.Tensor, cells: Cells) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of cells that are in or near any object; G x A, which are both of which."""
    away = (cells.centres[None] - boxes[:, None, :2]).abs()
    inside = (away < boxes[:, None, 2:] / 2).all(-1)
    near = (away < REACH * cells.strides[:, None]).all(-1)
    return (inside | near).any(0).nonzero().squeeze(1), inside & near


def _class_cost(
    objectness: torch.Tensor, logits: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """G x A: the cross-entropy of each cell's class scores with each object's class."""
    scores = (logits.sigmoid() * objectness.sigmoid()[:, None]).sqrt()
    right = scores.clamp_min(TINY).log().clamp_min(-100)
    wrong = (1 - scores).clamp_min(TINY).log().clamp_min(-100)
    # All classes as if they were wrong, then the right one in the place of its part.
    return -(wrong.sum(1)[:, None] + (right - wrong)[:, classes]).T


def _cheapest(cost: torch.Tensor, overlaps: torch.Tensor) -> torch.Tensor:
    """G x A: whether a cell is among those that an object can afford."""
    most = min(SUMMED, cost.shape[1])
    counts = overlaps.topk(most, 1).values.sum(1).int().clamp_min(1)
    cells = cost.topk(most, 1, largest=False).indices
    affordable = torch.arange(most, device=cost.device) < counts[:, None]
    return torch.zeros_like(cost, dtype=torch.bool).scatter_(1, cells, affordable)


def _corners(boxes: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return found
