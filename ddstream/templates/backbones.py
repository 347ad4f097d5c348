"""Backbones of detectors: networks of torchvision below a feature pyramid, with fresh weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pydantic import Field
from torch import nn
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone

from ddstream.api.parameters import Integers
from ddstream.errors import ParameterError
from ddstream.templates.detection import DetectorParameters

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d")
MOBILENETS = ("mobilenet_v3_large", "mobilenet_v3_small")
BACKBONES = (*RESNETS, *MOBILENETS)
ALL = 5
"""Layers of a backbone, as `trainable_layers` counts them."""
SIZES = (32, 64, 128, 256, 512)
"""Sides of the anchors, in pixels."""


class BackboneParameters(DetectorParameters):
    """`template_params` of detectors with a backbone and anchors."""

    backbone: str = Field(default="resnet50", description=f"{', '.join(BACKBONES)}.")
    trainable_layers: int = Field(
        default=ALL, ge=0, le=ALL, description="Layers of the backbone that learn, from its end."
    )
    anchor_sizes: Integers = Field(
        default=(), description="Pixels of the anchors' sides, small ones first; 32 to 512."
    )

    def anchors(self, levels: int) -> tuple[int, ...]:
        """A size for each level of the pyramid. Raises ParameterError for other numbers of them."""
        sizes = self.anchor_sizes or SIZES[len(SIZES) - levels :]
        if len(sizes) != levels or min(sizes) < 1:
            raise ParameterError(
                f"template_params.anchor_sizes: {levels} sizes of at least 1 are needed"
            )
        return sizes

    def pyramid(self, **options: Any) -> nn.Module:
        """The backbone. Raises ParameterError for one that does not exist."""
        name = self.backbone
        if name not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ParameterError(f"unknown backbone {name}; there is: {known}")
        common = {"backbone_name": name, "weights": None, "norm_layer": nn.BatchNorm2d, **options}
        if name in RESNETS:
            return cast(
                nn.Module, resnet_fpn_backbone(trainable_layers=self.trainable_layers, **common)
            )
        # A mobile network counts its first convolution as a layer of its own.
        layers = (
            self.trainable_layers + 1 if self.trainable_layers == ALL else self.trainable_layers
        )
        return cast(nn.Module, mobilenet_backbone(fpn=True, trainable_layers=layers, **common))


def doubled(sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Three sizes a level, up to the next one (Lin et al. 2017)."""
    return tuple(tuple(int(size * 2 ** (part / 3)) for part in range(3)) for size in sizes)
