"""The head of YOLOX: for each cell of the three levels a class, a box, and whether it is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ddstream.templates.yolox.backbone import CHANNELS, STRIDES
from ddstream.templates.yolox.blocks import Convolution, wide

PRIOR = 0.01
"""What a fresh model takes for the share of cells that have an object."""
LARGEST = 10.0
"""Bound of a size's logarithm: more than any image has, less than what numbers can hold."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The A cells of all levels: corners A x 2 and strides A, in pixels."""

    corners: torch.Tensor
    strides: torch.Tensor

    @property
    def centres(self) -> torch.Tensor:
        """The middle of each cell, A x 2."""
        return self.corners + self.strides[:, None] / 2


@dataclass(frozen=True, slots=True)
class Raw:
    """What the head says of each cell: offsets N x A x 4, objectness N x A, classes N x A x C.

    Offsets are the box's centre from the cell's corner, and the logarithm of its size, in strides;
    the others are logits.
    """

    offsets: torch.Tensor
    objectness: torch.Tensor
    classes: torch.Tensor
    cells: Cells

    @property
    def boxes(self) -> torch.Tensor:
        """N x A x 4: centre and size in pixels."""
        strides = self.cells.strides[:, None]
        centres = self.offsets[..., :2] * strides + self.cells.corners
        sizes = self.offsets[..., 2:].clamp_max(LARGEST).exp() * strides
        return torch.cat((centres, sizes), -1)


class Head(nn.Module):
    """Two branches a level: one tells classes apart, the other finds boxes."""

    def __init__(self, classes: int, width: float, *, depthwise: bool) -> None:
        super().__init__()
        hidden = int(CHANNELS[0] * width)

        def branch() -> nn.Sequential:
            return nn.Sequential(*(wide(hidden, hidden, 3, depthwise=depthwise) for _ in range(2)))

        def ends(outputs: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(hidden, outputs, 1) for _ in STRIDES)

        self.cls_convs = nn.ModuleList(branch() for _ in STRIDES)
        self.reg_convs = nn.ModuleList(branch() for _ in STRIDES)
        self.cls_preds, self.reg_preds, self.obj_preds = ends(classes), ends(4), ends(1)
        self.stems = nn.ModuleList(Convolution(int(each * width), hidden, 1) for each in CHANNELS)
        for end in (*self.cls_preds, *self.obj_preds):
            assert isinstance(end, nn.Conv2d)
            assert end.bias is not None
            nn.init.constant_(end.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, levels: Sequence[torch.Tensor]) -> Raw:
        said: tuple[list[torch.Tensor], ...] = ([], [], [])
        for number, level in enumerate(levels):
            x = self.stems[number](level)
            found = self.reg_convs[number](x)
            outputs = (
                self.reg_preds[number](found),
                self.obj_preds[number](found),
                self.cls_preds[number](self.cls_convs[number](x)),
            )
            for kept, output in zip(said, outputs, strict=True):
                kept.append(output.flatten(2).transpose(1, 2))
        offsets, objectness, classes = (torch.cat(each, 1).float() for each in said)
        return Raw(offsets, objectness.squeeze(-1), classes, _cells(levels))


def _cells(levels: Sequence[torch.Tensor]) -> Cells:
    """The cells of feature maps, row by row."""
    corners, strides = [], []
    for level, stride in zip(levels, STRIDES, strict=True):
        height, width = level.shape[2:]
        rows, columns = (torch.arange(n, device=level.device) * stride for n in (height, width))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        corners.append(torch.stack((x, y), -1).reshape(-1, 2))
        strides.append(torch.full((height * width,), stride, device=level.device))
    return Cells(torch.cat(corners).float(), torch.cat(strides).float())
