"""DETR by transformers: a fixed number of queries, each an object or none (Carion et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torchvision.ops import box_convert
from transformers.models.detr.configuration_detr import DetrConfig
from transformers.models.detr.modeling_detr import DetrForObjectDetection, DetrFrozenBatchNorm2d

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates.detection import (
    Candidates,
    Detections,
    Detector,
    DetectorParameters,
    Targets,
    by_image,
    chosen,
)
from ddstream.templates.protocol import DEEPEST

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101")
LAYERS = ("layer4", "layer3", "layer2", "layer1", "conv1")
"""Of a backbone, from its end; the first batch norm goes with the first convolution."""


class DetrParameters(DetectorParameters):
    """`template_params` of detr."""

    backbone: str = Field(default="resnet50", description=f"{', '.join(BACKBONES)}.")
    trainable_layers: int = Field(
        default=len(LAYERS), ge=0, le=len(LAYERS), description="Layers of the backbone that learn."
    )
    num_queries: int = Field(default=100, ge=1, description="Most objects of an image.")
    hidden_dim: int = Field(default=256, ge=8, description="Numbers of a query.")
    heads: int = Field(default=8, ge=1, description="Heads of attention.")
    encoder_layers: int = Field(
        default=6, ge=1, le=DEEPEST, description="Layers that see the image."
    )
    decoder_layers: int = Field(
        default=6, ge=1, le=DEEPEST, description="Layers that see the queries."
    )
    feedforward: int = Field(default=2048, ge=1, description="Width within a layer.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Of all layers.")

    def config(self, classes: int) -> DetrConfig:
        """As transformers has it. Raises ParameterError for what cannot be built."""
        if self.backbone not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ParameterError(f"unknown backbone {self.backbone}; there is: {known}")
        if self.hidden_dim % (2 * self.heads):
            raise ParameterError("template_params.hidden_dim must be a multiple of twice the heads")
        options: dict[str, Any] = {
            "use_timm_backbone": True,
            "backbone": self.backbone,
            "num_labels": classes,
            "num_queries": self.num_queries,
            "d_model": self.hidden_dim,
            "encoder_attention_heads": self.heads,
            "decoder_attention_heads": self.heads,
            "encoder_layers": self.encoder_layers,
            "decoder_layers": self.decoder_layers,
            "encoder_ffn_dim": self.feedforward,
            "decoder_ffn_dim": self.feedforward,
            "dropout": self.dropout,
            "auxiliary_loss": True,
        }
        return DetrConfig(**options)


def detr(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """DETR; parameters are named as transformers does."""
    wanted = DetrParameters.read(params)
    model = Detr(wanted.config(wanted.objects(dimensions)))
    backbone = model.model.backbone.model
    _thaw(backbone)
    learning = LAYERS[: wanted.trainable_layers]
    for name, weights in backbone.named_parameters():
        weights.requires_grad_(name.replace("bn1.", "conv1.", 1).startswith(learning))
    return model


class Detr(Detector, DetrForObjectDetection):  # type: ignore[no-untyped-call]
    """Takes images N x 3 x H x W; in training also what is in them, M objects.

    Classes are 1 to `nclasses` outside, and from 0 on inside, where the last one is none.
    """

    def __init__(self, config: DetrConfig) -> None:
        super().__init__(config)
        # transformers takes it from the name of the class.
        self.loss_type = "ForObjectDetection"

    def forward(
        self,
        images: torch.Tensor,
        ids: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> list[Detections] | dict[str, torch.Tensor]:
        """Detections of each image; given boxes M x 4, `labels` M and the image `ids` M of each,
        the losses of each layer and their weighted sum as `total_loss`."""
        height, width = images.shape[2:]
        sides = torch.tensor([width, height, width, height], device=images.device)
        if ids is not None and boxes is not None and labels is not None:
            targets = by_image(
                ids, box_convert(boxes, "xyxy", "cxcywh") / sides, labels, len(images)
            )
            told = super().forward(images, labels=_named(targets))
            return {**told.loss_dict, "total_loss": told.loss}
        told = super().forward(images)
        corners = box_convert(told.pred_boxes, "cxcywh", "xyxy") * sides
        scores, classes = told.logits.float().softmax(-1)[..., :-1].max(-1)
        logits = told.logits.roll(1, -1)
        return [
            chosen(
                Candidates(corners[i], scores[i], classes[i] + 1, logits[i]), self, height, width
            )
            for i in range(len(images))
        ]


def _named(targets: Targets) -> list[dict[str, torch.Tensor]]:
    return [{"class_labels": each["labels"] - 1, "boxes": each["boxes"]} for each in targets]


def _thaw(module: nn.Module) -> None:
    """Make batch norms of those that transformers keeps as they are: fresh ones have to learn."""
    for name, child in module.named_children():
        if isinstance(child, DetrFrozenBatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(len(child.get_buffer("weight"))))
        else:
            _thaw(child)
