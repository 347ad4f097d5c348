"""Blocks of YOLOX: convolutions, and stages that lead half of their channels past the work.

Parts are named as in the published weights, so that these load.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

EPSILON, MOMENTUM = 1e-3, 0.03
"""Of batch norms."""


class Convolution(nn.Module):
    """A convolution that keeps the size (but for its stride), batch norm, SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=EPSILON, momentum=MOMENTUM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.silu(self.bn(self.conv(x)))


class Separable(nn.Module):
    """A convolution of each channel by itself, then one across the channels of a pixel."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = Convolution(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = Convolution(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.pconv(self.dconv(x))
        return found


def wide(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False
) -> nn.Module:
    """A convolution over neighbouring pixels; separable in the smallest models."""
    build = Separable if depthwise else Convolution
    return build(inputs, outputs, kernel, stride)


class Focus(nn.Module):
    """Pixels of each 2 x 2 square become channels: half the size without losing any."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Convolution(4 * inputs, outputs, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Columns before rows: upper left, lower left, upper right, lower right.
        corners = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        found: torch.Tensor = self.conv(torch.cat(corners, 1))
        return found


class Bottleneck(nn.Module):
    """Two convolutions, with a way past them."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = Convolution(channels, channels, 1)
        self.conv2 = wide(channels, channels, 3, depthwise=depthwise)
        self._shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv2(self.conv1(x))
        return found + x if self._shortcut else found


class Stage(nn.Module):
    """A row of bottlenecks on half of the channels, joined with the other half (CSPNet)."""

    def __init__(
        self, inputs: int, outputs: int, count: int, *, shortcut: bool = True, depthwise: bool
    ) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = Convolution(inputs, half, 1)
        self.conv2 = Convolution(inputs, half, 1)
        self.conv3 = Convolution(2 * half, outputs, 1)
        self.m = nn.Sequential(
            *(Bottleneck(half, shortcut=shortcut, depthwise=depthwise) for _ in range(count))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), 1))
        return found


class Pyramid(nn.Module):
    """The highest values of ever larger neighbourhoods, side by side (spatial pyramid pooling)."""

    def __init__(self, inputs: int, outputs: int, sizes: tuple[int, ...] = (5, 9, 13)) -> None:
        super().__init__()
        half = inputs // 2
        self.conv1 = Convolution(inputs, half, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in sizes)
        self.conv2 = Convolution(half * (1 + len(sizes)), outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        found: torch.Tensor = self.conv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))
        return found
