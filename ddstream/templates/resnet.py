"""Residual networks for images of three channels, as torchvision names their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import nn
from torchvision.models import resnet

from ddstream.data import Dimensions
from ddstream.templates.protocol import ClassifierParameters

CLASSES = 1000
"""Classes of a model that nobody gave a number."""


def resnet18(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """18 layers (He et al. 2015)."""
    return _built(resnet.resnet18, dimensions, params)


def resnet34(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """34 layers."""
    return _built(resnet.resnet34, dimensions, params)


def resnet50(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """50 layers, with bottlenecks."""
    return _built(resnet.resnet50, dimensions, params)


def resnet101(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """101 layers, with bottlenecks."""
    return _built(resnet.resnet101, dimensions, params)


def resnet152(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """152 layers, with bottlenecks."""
    return _built(resnet.resnet152, dimensions, params)


def resnext50_32x4d(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """50 layers, 32 groups of 4 channels (Xie et al. 2016)."""
    return _built(resnet.resnext50_32x4d, dimensions, params)


def resnext101_32x8d(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """101 layers, 32 groups of 8 channels."""
    return _built(resnet.resnext101_32x8d, dimensions, params)


def wideresnet50_2(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """50 layers of twice the width (Zagoruyko and Komodakis 2016)."""
    return _built(resnet.wide_resnet50_2, dimensions, params)


def wideresnet101_2(dimensions: Dimensions, params: Mapping[str, Any]) -> nn.Module:
    """101 layers of twice the width."""
    return _built(resnet.wide_resnet101_2, dimensions, params)


def _built(
    build: Callable[..., Any], dimensions: Dimensions, params: Mapping[str, Any]
) -> nn.Module:
    head = ClassifierParameters.read(params).outputs(dimensions.outputs, CLASSES)
    return cast(nn.Module, build(weights=None, num_classes=head))
