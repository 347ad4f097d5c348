"""Vision transformers for images of three channels, as timm names their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from pydantic import Field
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates.protocol import ClassifierParameters, image_size

CLASSES = 2
"""Classes of a model that nobody gave a number."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """Sizes of a vision transformer: width, blocks, heads, side of its patches."""

    width: int
    depth: int
    heads: int
    patch: int
    qkv_bias: bool = True


FLAVOURS: Mapping[str, Flavour] = {
    "vit_tiny_patch16": Flavour(192, 12, 3, 16),
    "vit_small_patch16": Flavour(384, 12, 6, 16),
    "vit_base_patch32": Flavour(768, 12, 12, 32),
    "vit_base_patch16": Flavour(768, 12, 12, 16),
    "vit_large_patch16": Flavour(1024, 24, 16, 16),
    "vit_large_patch32": Flavour(1024, 24, 16, 32),
    "vit_huge_patch16": Flavour(1280, 32, 16, 16, qkv_bias=False),
    "vit_huge_patch32": Flavour(1280, 32, 16, 32, qkv_bias=False),
}


class VitParameters(ClassifierParameters):
    """`template_params` of vit."""

    vit_flavor: str = Field(default="vit_base_patch16", description=f"{', '.join(FLAVOURS)}.")
    realformer: bool = Field(
        default=False, description="Each block's attention starts from the scores of the last one."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Of tokens, features and scores.")


def vit(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A vision transformer with a class token (Dosovitskiy et al. 2021)."""
    wanted = VitParameters.read(params)
    flavour = FLAVOURS.get(wanted.vit_flavor)
    if flavour is None:
        known = ", ".join(FLAVOURS)
        raise ParameterError(f"unknown ViT flavor {wanted.vit_flavor}; there is: {known}")
    size = image_size(dimensions, "vit")
    if min(size) < flavour.patch:
        raise ParameterError(f"vit needs images of {flavour.patch} pixels at least")
    build = ResidualVisionTransformer if wanted.realformer else VisionTransformer
    return build(
        img_size=size,
        patch_size=flavour.patch,
        num_classes=wanted.outputs(dimensions.outputs, CLASSES),
        embed_dim=flavour.width,
        depth=flavour.depth,
        num_heads=flavour.heads,
        qkv_bias=flavour.qkv_bias,
        drop_rate=wanted.dropout,
        pos_drop_rate=wanted.dropout,
        proj_drop_rate=wanted.dropout,
        attn_drop_rate=wanted.dropout,
        block_fn=ResidualBlock if wanted.realformer else Block,
    )


class ResidualVisionTransformer(VisionTransformer):
    """A vision transformer whose attention scores add up from block to block (He et al. 2021)."""

    def forward_features(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """Tokens N x T x W of images N x 3 x H x W; a mask is the scores that blocks start from."""
        tokens = self.norm_pre(self.patch_drop(self._pos_embed(self.patch_embed(x))))
        scores = attn_mask
        for block in self.blocks:
            tokens, scores = block(tokens, scores)
        normed: torch.Tensor = self.norm(tokens)
        return normed


class ResidualBlock(Block):
    """A block that takes the scores of the one before it, and hands on the sum."""

    def forward(  # type: ignore[override]  # Scores are the whole point of it.
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens N x T x W and scores N x heads x T x T, before softmax."""
        seen, scores = self._attended(self.norm1(x), attn_mask)
        tokens = x + self.drop_path1(self.ls1(seen))
        return tokens + self.drop_path2(self.ls2(self.mlp(self.norm2(tokens)))), scores

    def _attended(
        self, tokens: torch.Tensor, before: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        attention = cast(Attention, self.attn)
        shape = (*tokens.shape[:2], 3, attention.num_heads, attention.head_dim)
        query, key, value = attention.qkv(tokens).reshape(shape).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * attention.scale
        if before is not None:
            scores = scores + before
        weights = attention.attn_drop(scores.softmax(-1))
        seen = (weights @ value).transpose(1, 2).flatten(2)
        return attention.proj_drop(attention.proj(seen)), scores
