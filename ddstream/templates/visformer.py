"""Visformers: convolutions first, attention later (Chen et al. 2021), as timm names parameters.

Their last stage has the four blocks of the paper, so that public weights fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from timm.models.visformer import Visformer
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates.protocol import ClassifierParameters, image_size

CLASSES = 2
"""Classes of a model that nobody gave a number."""
STRIDE = 32
"""Pixels of the image below one place of the last stage."""
FLAVOURS: Mapping[str, Mapping[str, Any]] = {
    "visformer_tiny": {"init_channels": 16, "embed_dim": 192, "num_heads": 3},
    "visformer_small": {"init_channels": 32, "embed_dim": 384, "num_heads": 6},
}


class VisformerParameters(ClassifierParameters):
    """`template_params` of visformer; the flavour has two names (D-35)."""

    visformer_flavor: str = Field(default="", description=f"{', '.join(FLAVOURS)}.")
    visformer_tiny: str = Field(default="", description="The same as visformer_flavor.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Of features and of scores.")

    @property
    def flavour(self) -> str:
        """The one that is asked for. Raises ParameterError if these are two."""
        asked = {self.visformer_flavor, self.visformer_tiny} - {""}
        if len(asked) > 1:
            raise ParameterError("visformer_flavor and visformer_tiny name two flavours")
        return asked.pop() if asked else "visformer_tiny"


def visformer(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """A classifier of three stages; attention in the second and third."""
    wanted = VisformerParameters.read(params)
    if wanted.flavour not in FLAVOURS:
        known = ", ".join(FLAVOURS)
        raise ParameterError(f"unknown Visformer flavor {wanted.flavour}; there is: {known}")
    height, width = image_size(dimensions, "visformer")
    if height % STRIDE or width % STRIDE:
        raise ParameterError(f"visformer needs a width and height that {STRIDE} divides")
    sized: Mapping[str, Any] = {"img_size": (height, width), **FLAVOURS[wanted.flavour]}
    return Visformer(
        **sized,
        num_classes=wanted.outputs(dimensions.outputs, CLASSES),
        depth=(7, 4, 4),
        group=8,
        attn_stage="011",
        spatial_conv="100",
        norm_layer=nn.BatchNorm2d,
        embed_norm=nn.BatchNorm2d,
        conv_init=True,
        drop_rate=wanted.dropout,
        pos_drop_rate=wanted.dropout,
        proj_drop_rate=wanted.dropout,
        attn_drop_rate=wanted.dropout,
    )
