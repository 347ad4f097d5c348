"""RetinaNet by torchvision: a class and a box for each anchor (Lin et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from ddstream.data import Dimensions
from ddstream.templates.backbones import BackboneParameters, doubled
from ddstream.templates.detection import (
    CANDIDATES,
    Candidates,
    Detections,
    Detector,
    by_image,
    chosen,
)

RATIOS = (0.5, 1.0, 2.0)
"""Heights of anchors as shares of their widths."""
LEVELS = 5
CHANNELS = 256
"""Of each level."""
STAGES = [2, 3, 4]
"""Of the backbone, whose maps the pyramid is made of: strides of 8, 16 and 32 pixels."""


def retinanet(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """RetinaNet with a feature pyramid; parameters are named as torchvision does."""
    wanted = BackboneParameters.read(params)
    sizes = doubled(wanted.anchors(LEVELS))
    backbone = wanted.pyramid(
        returned_layers=STAGES, extra_blocks=LastLevelP6P7(CHANNELS, CHANNELS)
    )
    anchors = AnchorGenerator(sizes, (RATIOS,) * LEVELS)
    return Retina(backbone, wanted.objects(dimensions) + 1, anchor_generator=anchors)


class Retina(Detector, RetinaNet):  # type: ignore[misc] # torchvision has no types
    """Takes images N x 3 x H x W as they are; in training also what is in them, M objects.

    Its class 0 is none, so that weights of torchvision fit.
    """

    def forward(
        self,
        images: torch.Tensor,
        ids: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> list[Detections] | dict[str, torch.Tensor]:
        """Detections of each image; given boxes M x 4, `labels` M and the image `ids` M of each,
        the losses and their sum as `total_loss`."""
        size = (int(images.shape[2]), int(images.shape[3]))
        maps = list(self.backbone(images).values())
        said = self.head(maps)
        anchors = self.anchor_generator(ImageList(images, [size] * len(images)), maps)
        if ids is not None and boxes is not None and labels is not None:
            parts = self.compute_loss(by_image(ids, boxes, labels, len(images)), said, anchors)
            return {**parts, "total_loss": torch.stack(list(parts.values())).sum()}
        return [
            chosen(self._candidates(logits, offsets, own), self, *size)
            for logits, offsets, own in zip(
                said["cls_logits"], said["bbox_regression"], anchors, strict=True
            )
        ]

    def _candidates(
        self, logits: torch.Tensor, offsets: torch.Tensor, anchors: torch.Tensor
    ) -> Candidates:
        """Each anchor A as each of the classes: logits A x C, offsets A x 4, anchors A x 4."""
        scores = logits[:, 1:].float().sigmoid()
        best, places = scores.flatten().topk(min(scores.numel(), CANDIDATES))
        which, classes = places // scores.shape[1], places % scores.shape[1]
        boxes = self.box_coder.decode_single(offsets[which], anchors[which])
        return Candidates(boxes, best, classes + 1, logits[which, 1:])
