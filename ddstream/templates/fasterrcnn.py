"""Faster R-CNN by torchvision: proposals first, then what each of them is (Ren et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from ddstream.data import Dimensions
from ddstream.templates.backbones import MOBILENETS, SIZES, BackboneParameters
from ddstream.templates.detection import Candidates, Detections, Detector, by_image, chosen

RATIOS = (0.5, 1.0, 2.0)
"""Heights of anchors as shares of their widths."""
LEVELS = 5
"""Of the pyramid below a residual network."""
MOBILE_LEVELS = 3
"""Of that below a mobile one, each of which has anchors of all sizes."""
HALVES = (torch.float16, torch.bfloat16)
POOLED = ("roi_heads.box_roi_pool", "roi_heads.box_head")
"""Layers that see one region at a time."""


def fasterrcnn(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """Faster R-CNN with a feature pyramid; parameters are named as torchvision does."""
    wanted = BackboneParameters.read(params)
    if wanted.backbone in MOBILENETS:
        sizes = (wanted.anchors(len(SIZES)),) * MOBILE_LEVELS
    else:
        sizes = tuple((size,) for size in wanted.anchors(LEVELS))
    return FasterRcnn(
        wanted.pyramid(),
        wanted.objects(dimensions) + 1,
        rpn_anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
    )


class FasterRcnn(Detector, FasterRCNN):  # type: ignore[misc] # torchvision has no types
    """Takes images N x 3 x H x W as they are; in training also what is in them, M objects.

    Class 0 is the background.
    """

    @property
    def roi_layers(self) -> Sequence[str]:
        """The layers that have values of a region."""
        names = [name for name, _ in self.named_modules()]
        return [name for name in names if name.startswith(POOLED)]

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
        listed = ImageList(images, [size] * len(images))
        kind = next(self.rpn.parameters()).dtype
        maps = {name: each.to(kind) for name, each in self.backbone(images).items()}
        if ids is not None and boxes is not None and labels is not None:
            targets = by_image(ids, boxes, labels, len(images))
            proposals, first = self.rpn(listed, maps, targets)
            _, second = self.roi_heads(maps, proposals, listed.image_sizes, targets)
            parts = {**first, **second}
            return {**parts, "total_loss": torch.stack(list(parts.values())).sum()}
        proposals, _ = self.rpn(listed, maps)
        found = self._detections(maps, proposals, size)
        return self._with_features(found, maps, size) if self.rois else found

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Boxes are compared in full precision: what makes them stays so in half types too."""
        super()._apply(fn, recurse)
        for part in (self.rpn, self.roi_heads):
            if next(part.parameters()).dtype in HALVES:
                part.float()
        return self

    def _detections(
        self, maps: Mapping[str, torch.Tensor], proposals: list[torch.Tensor], size: tuple[int, int]
    ) -> list[Detections]:
        heads = self.roi_heads
        regions = heads.box_head(heads.box_roi_pool(maps, proposals, [size] * len(proposals)))
        logits, offsets = heads.box_predictor(regions)
        boxes = heads.box_coder.decode(offsets, proposals)
        counts = [len(each) for each in proposals]
        images = zip(boxes.split(counts), logits.split(counts), strict=True)
        return [chosen(_candidates(*each), self, *size) for each in images]

    def _with_features(
        self, found: list[Detections], maps: Mapping[str, torch.Tensor], size: tuple[int, int]
    ) -> list[Detections]:
        """The same, with the values of the layer `rois` for each box."""
        heads, kept = self.roi_heads, []
        layer = self.get_submodule(self.rois)
        hook = layer.register_forward_hook(lambda _, __, values: kept.append(values))
        try:
            boxes = [each["boxes"].to(next(iter(maps.values())).dtype) for each in found]
            heads.box_head(heads.box_roi_pool(maps, boxes, [size] * len(boxes)))
        finally:
            hook.remove()
        features = kept[-1].flatten(1).float().split([len(each["boxes"]) for each in found])
        pairs = zip(found, features, strict=True)
        return [{**each, "features": values} for each, values in pairs]


def _candidates(boxes: torch.Tensor, logits: torch.Tensor) -> Candidates:
    """Each proposal R as each of the classes: boxes R x C x 4, logits R x C, the first is none."""
    count, classes = logits.shape
    scores = logits.float().softmax(-1)[:, 1:]
    labels = torch.arange(1, classes, device=logits.device).expand(count, -1)
    return Candidates(
        boxes.reshape(count, classes, 4)[:, 1:].reshape(-1, 4),
        scores.reshape(-1),
        labels.reshape(-1),
        logits.repeat_interleave(classes - 1, 0),
    )
