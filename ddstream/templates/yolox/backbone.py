"""The trunk of YOLOX: features of an image at three strides (8, 16 and 32 pixels)."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional

from ddstream.templates.yolox.blocks import Convolution, Focus, Pyramid, Stage, wide

Levels: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Feature maps N x C x H x W, the finest first."""
STRIDES = (8, 16, 32)
CHANNELS = (256, 512, 1024)
"""Channels of the levels at a width of 1."""


class Darknet(nn.Module):
    """CSPDarknet: five times half the size and twice the channels."""

    def __init__(self, depth: float, width: float, *, depthwise: bool) -> None:
        super().__init__()
        base, count = int(64 * width), max(round(3 * depth), 1)
        self.stem = Focus(3, base)
        stages = []
        for number, repeats in enumerate((count, 3 * count, 3 * count, count)):
            inputs = base * 2**number
            last = number == 3
            parts = [
                wide(inputs, 2 * inputs, 3, 2, depthwise=depthwise),
                *([Pyramid(2 * inputs, 2 * inputs)] if last else []),
                Stage(2 * inputs, 2 * inputs, repeats, shortcut=not last, depthwise=depthwise),
            ]
            stages.append(nn.Sequential(*parts))
        self.dark2, self.dark3, self.dark4, self.dark5 = stages

    def forward(self, x: torch.Tensor) -> Levels:
        fine = self.dark3(self.dark2(self.stem(x)))
        middle = self.dark4(fine)
        return fine, middle, self.dark5(middle)


class Trunk(nn.Module):
    """A feature pyramid: what is seen at large goes down to the details, and back up (PANet)."""

    def __init__(self, depth: float, width: float, *, depthwise: bool) -> None:
        super().__init__()
        self.backbone = Darknet(depth, width, depthwise=depthwise)
        fine, middle, coarse = (int(each * width) for each in CHANNELS)
        count = round(3 * depth)

        def joined(inputs: int, outputs: int) -> Stage:
            return Stage(inputs, outputs, count, shortcut=False, depthwise=depthwise)

        self.lateral_conv0 = Convolution(coarse, middle, 1)
        self.C3_p4 = joined(2 * middle, middle)
        self.reduce_conv1 = Convolution(middle, fine, 1)
        self.C3_p3 = joined(2 * fine, fine)
        self.bu_conv2 = wide(fine, fine, 3, 2, depthwise=depthwise)
        self.C3_n3 = joined(2 * fine, middle)
        self.bu_conv1 = wide(middle, middle, 3, 2, depthwise=depthwise)
        self.C3_n4 = joined(2 * middle, coarse)

    def forward(self, x: torch.Tensor) -> Levels:
        fine, middle, coarse = self.backbone(x)
        top = self.lateral_conv0(coarse)
        centre = self.reduce_conv1(self.C3_p4(torch.cat((_larger(top), middle), 1)))
        first = self.C3_p3(torch.cat((_larger(centre), fine), 1))
        second = self.C3_n3(torch.cat((self.bu_conv2(first), centre), 1))
        third = self.C3_n4(torch.cat((self.bu_conv1(second), top), 1))
        return first, second, third


def _larger(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
