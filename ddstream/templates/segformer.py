"""segformer: transformers that segment images (Xie et al. 2021).

Parameters have the names of transformers' `SegformerForSemanticSegmentation`; those of public
checkpoints, which are older, are read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional
from transformers import SegformerConfig
from transformers.models.segformer.modeling_segformer import SegformerForSemanticSegmentation

from ddstream.api.parameters import Integers
from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates.protocol import DEEPEST, ClassifierParameters

CLASSES: Final = 2
"""Classes of a model that nobody gave a number."""
STAGES: Final = 4
SMALLEST: Final = 32
"""Pixels of the shorter side from which on every stage has something to look at."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """Sizes of a segformer: numbers of a token and blocks in each stage, width of the head."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head: int


_WIDE: Final = (64, 128, 320, 512)
FLAVOURS: Mapping[str, Flavour] = {
    "b0": Flavour((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": Flavour(_WIDE, (2, 2, 2, 2), 256),
    "b2": Flavour(_WIDE, (3, 4, 6, 3), 768),
    "b3": Flavour(_WIDE, (3, 4, 18, 3), 768),
    "b4": Flavour(_WIDE, (3, 8, 27, 3), 768),
    "b5": Flavour(_WIDE, (3, 6, 40, 3), 768),
}
_OLD_NAMES: Final = (
    (r"encoder\.patch_embeddings\.(\d+)\.", r"stages.\1.patch_embeddings."),
    (r"encoder\.block\.(\d+)\.", r"stages.\1.blocks."),
    (r"encoder\.layer_norm\.(\d+)\.", r"stages.\1.layer_norm."),
    (r"\.attention\.self\.query\.", ".attention.q_proj."),
    (r"\.attention\.self\.key\.", ".attention.k_proj."),
    (r"\.attention\.self\.value\.", ".attention.v_proj."),
    (r"\.attention\.self\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attention\.self\.layer_norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.mlp\.dense(\d)\.", r".mlp.fc\1."),
    (r"\.layer_norm_1\.", ".layernorm_before."),
    (r"\.layer_norm_2\.", ".layernorm_after."),
    (r"^decode_head\.linear_c\.", "decode_head.linear_projections."),
)
"""Parts of public names, and what stands for them here."""


class SegformerParameters(ClassifierParameters):
    """`template_params` of segformer."""

    segformer_flavor: str = Field(default="b0", description=f"{', '.join(FLAVOURS)}.")
    hidden_sizes: Integers = Field(default=(), description="Numbers of a token in each stage.")
    depths: Integers = Field(default=(), description="Blocks of each stage.")
    heads: Integers = Field(default=(1, 2, 5, 8), description="Attention heads of each stage.")
    decoder_hidden_size: int | None = Field(default=None, ge=1, description="Width of the head.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Before the last layer.")
    drop_path: float = Field(
        default=0.1, ge=0, lt=1, description="Share of samples that skip the last block."
    )


def segformer(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A segmenter of a flavour, whose sizes may be given one by one."""
    wanted = SegformerParameters.read(params)
    flavour = FLAVOURS.get(wanted.segformer_flavor)
    if flavour is None:
        known = ", ".join(FLAVOURS)
        raise ParameterError(
            f"unknown segformer flavor {wanted.segformer_flavor}; there is: {known}"
        )
    for side in (dimensions.height, dimensions.width):
        if 0 < side < SMALLEST:
            raise ParameterError(f"segformer needs images of {SMALLEST} pixels at least")
    widths, depths = wanted.hidden_sizes or flavour.widths, wanted.depths or flavour.depths
    _check(widths, depths, wanted.heads)
    config = SegformerConfig(
        hidden_sizes=list(widths),
        depths=list(depths),
        num_attention_heads=list(wanted.heads),
        decoder_hidden_size=wanted.decoder_hidden_size or flavour.head,
        classifier_dropout_prob=wanted.dropout,
        drop_path_rate=wanted.drop_path,
    )
    config.num_labels = wanted.outputs(dimensions.outputs, CLASSES)
    return Segformer(config)


def _check(widths: Integers, depths: Integers, heads: Integers) -> None:
    """Raises ParameterError for stages that cannot be."""
    for name, each in (("hidden_sizes", widths), ("depths", depths), ("heads", heads)):
        if len(each) != STAGES or min(each) < 1:
            raise ParameterError(f"template_params.{name} has a number for each of {STAGES} stages")
    if max(depths) > DEEPEST:
        raise ParameterError(f"template_params.depths has at most {DEEPEST} blocks a stage")
    for width, count in zip(widths, heads, strict=True):
        if width % count:
            raise ParameterError(
                f"template_params.heads: {count} heads cannot share {width} numbers of hidden_sizes"
            )


class Segformer(nn.Module):
    """Scores of classes for each pixel."""

    def __init__(self, config: SegformerConfig) -> None:
        super().__init__()
        whole = SegformerForSemanticSegmentation(config)
        self.segformer, self.decode_head = whole.segformer, whole.decode_head

    @property
    def body(self) -> nn.Module:
        """What `freeze_traced` leaves as it is."""
        return self.segformer

    @staticmethod
    def translated(state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Public weights by the names of this model."""
        return {_translated(name): each for name, each in state.items()}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits N x C x H x W of images N x 3 x H x W.

        The head decides at a fourth of the size. Raises InputError for images that are too small.
        """
        size = images.shape[2:]
        if min(size) < SMALLEST:
            raise InputError(f"segformer needs images of {SMALLEST} pixels at least")
        stages = self.segformer(images, output_hidden_states=True).hidden_states
        scores = self.decode_head(stages)
        return functional.interpolate(scores, size, mode="bilinear", align_corners=False)


def _translated(name: str) -> str:
    for old, new in _OLD_NAMES:
        name = re.sub(old, new, name)
    return name
