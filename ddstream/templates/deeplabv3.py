"""deeplabv3: segmenters by dilated convolutions (Chen et al. 2017), as torchvision names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args

import torch
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional
from torchvision.models.segmentation import deeplabv3 as networks

from ddstream.data import Dimensions
from ddstream.templates.protocol import ClassifierParameters

CLASSES: Final = 21
"""Classes of a model that nobody gave a number: those of Pascal VOC, the background with them."""
Backbone = Literal["resnet50", "resnet101", "mobilenet_v3_large"]
_BUILDERS: Mapping[str, Callable[..., networks.DeepLabV3]] = {
    "resnet50": networks.deeplabv3_resnet50,
    "resnet101": networks.deeplabv3_resnet101,
    "mobilenet_v3_large": networks.deeplabv3_mobilenet_v3_large,
}
_AUXILIARY: Final = "aux_classifier."


class DeepLabParameters(ClassifierParameters):
    """`template_params` of deeplabv3."""

    backbone: Backbone = Field(default="resnet50", description=f"{', '.join(_BUILDERS)}.")

    @field_validator("backbone", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if value not in get_args(Backbone):
            raise ValueError(
                f"unknown backbone {str(value)[:40]}; there is: {', '.join(_BUILDERS)}"
            )
        return value


def deeplabv3(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A segmenter of images of three channels and of any size."""
    wanted = DeepLabParameters.read(params)
    whole = _BUILDERS[wanted.backbone](
        weights=None,
        weights_backbone=None,
        num_classes=wanted.outputs(dimensions.outputs, CLASSES),
        aux_loss=False,
    )
    return DeepLab(whole)


class DeepLab(nn.Module):
    """Scores of classes for each pixel."""

    def __init__(self, whole: networks.DeepLabV3) -> None:
        super().__init__()
        self.backbone: nn.Module = whole.backbone
        self.classifier: nn.Module = whole.classifier
        # The whole image is pooled to one value a channel, which a lone sample has no variance of.
        pooling = whole.classifier.get_submodule("0.convs.4")
        assert isinstance(pooling, nn.Sequential)
        norm = pooling[2]
        assert isinstance(norm, nn.BatchNorm2d)
        pooling[2] = LoneBatchNorm(norm.num_features)

    @property
    def body(self) -> nn.Module:
        """What `freeze_traced` leaves as it is."""
        return self.backbone

    @staticmethod
    def translated(state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Public weights without the second head, which helps in training only."""
        return {name: each for name, each in state.items() if not name.startswith(_AUXILIARY)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits N x C x H x W of images N x 3 x H x W."""
        scores = self.classifier(self.backbone(images)["out"])
        return functional.interpolate(
            scores, images.shape[2:], mode="bilinear", align_corners=False
        )


class LoneBatchNorm(nn.BatchNorm2d):
    """A batch norm that goes by its running statistics where a batch has one value a channel."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """N x C x H x W, normalised."""
        if self.training and input.numel() == input.shape[1]:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)
