"""The template yolox: its options, its flavours, and the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional
from torchvision.ops import box_convert

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates.detection import (
    Candidates,
    Detections,
    Detector,
    DetectorParameters,
    by_image,
    chosen,
)
from ddstream.templates.yolox.backbone import STRIDES, Trunk
from ddstream.templates.yolox.head import Head
from ddstream.templates.yolox.losses import losses


@dataclass(frozen=True, slots=True)
class Flavour:
    """Sizes as shares of the large model's; depthwise ones have separable convolutions."""

    depth: float
    width: float
    depthwise: bool = False


FLAVOURS: Mapping[str, Flavour] = {
    "yolox_nano": Flavour(0.33, 0.25, depthwise=True),
    "yolox_tiny": Flavour(0.33, 0.375),
    "yolox_s": Flavour(0.33, 0.5),
    "yolox_m": Flavour(0.67, 0.75),
    "yolox_l": Flavour(1.0, 1.0),
    "yolox_x": Flavour(1.33, 1.25),
}


class YoloxParameters(DetectorParameters):
    """`template_params` of yolox; the others change what the flavour says."""

    yolox_flavor: str = Field(default="yolox_s", description=f"{', '.join(FLAVOURS)}.")
    depth: float | None = Field(default=None, gt=0, le=4, description="Share of blocks.")
    width: float | None = Field(default=None, ge=0.0625, le=4, description="Share of channels.")
    depthwise: bool | None = Field(default=None, description="Separable convolutions.")

    def flavour(self) -> Flavour:
        """The sizes asked for. Raises ParameterError for a flavour that does not exist."""
        found = FLAVOURS.get(self.yolox_flavor)
        if found is None:
            known = ", ".join(FLAVOURS)
            raise ParameterError(f"unknown yolox flavor {self.yolox_flavor}; there is: {known}")
        return Flavour(
            self.depth or found.depth,
            self.width or found.width,
            found.depthwise if self.depthwise is None else self.depthwise,
        )


def yolox(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """YOLOX (Ge et al. 2021), the small one unless another is asked for."""
    wanted = YoloxParameters.read(params)
    return Yolox(wanted.objects(dimensions), wanted.flavour())


class Yolox(Detector, nn.Module):
    """Takes images N x 3 x H x W of any size; in training also what is in them, M objects.

    Classes are 1 to `classes` outside, and from 0 on inside.
    """

    def __init__(self, classes: int, flavour: Flavour) -> None:
        super().__init__()
        self.backbone = Trunk(flavour.depth, flavour.width, depthwise=flavour.depthwise)
        self.head = Head(classes, flavour.width, depthwise=flavour.depthwise)

    def forward(
        self,
        images: torch.Tensor,
        ids: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> list[Detections] | dict[str, torch.Tensor]:
        """Detections of each image; given boxes M x 4, `labels` M and the image `ids` M of each,
        the losses, whose weighted sum is for who trains it (contract 5.6)."""
        raw = self.head(self.backbone(_whole(images)))
        height, width = images.shape[2:]
        if ids is not None and boxes is not None and labels is not None:
            return losses(raw, by_image(ids, boxes, labels, len(images)))
        corners = box_convert(raw.boxes, "cxcywh", "xyxy")
        best, classes = raw.classes.sigmoid().max(-1)
        scores, found = best * raw.objectness.sigmoid(), classes + 1
        return [
            chosen(Candidates(corners[i], scores[i], found[i], raw.classes[i]), self, height, width)
            for i in range(len(images))
        ]


def _whole(images: torch.Tensor) -> torch.Tensor:
    """Images with zeros at the right and below, up to a multiple of the coarsest stride."""
    height, width = images.shape[2:]
    missing = (-width % STRIDES[-1], -height % STRIDES[-1])
    return functional.pad(images, (0, missing[0], 0, missing[1])) if any(missing) else images
