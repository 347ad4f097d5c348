"""The bare loop of a detector: torchvision's own RetinaNet, read ahead of by a thread."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from tests.bench.bare import AHEAD, WARM

BACKBONE = "resnet18"
SIZES = (16, 32, 64, 128, 256)
"""Pixels of the anchors."""

Scene = tuple[torch.Tensor, dict[str, torch.Tensor]]


def steps_a_second(listed: Path, side: int, classes: int, batch: int, steps: int) -> float:
    """Train on the images of a list file, mirrored by chance; classes are 1 to `classes`."""
    lines = [(line.split()[0], line.split()[1]) for line in listed.read_text().splitlines()]
    torch.manual_seed(0)
    model = _model(side, classes).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    rng = np.random.default_rng(0)

    def read() -> list[Scene]:
        return [_scene(lines[index], rng) for index in rng.integers(0, len(lines), batch)]

    began = 0.0
    with ThreadPoolExecutor(1) as reader:
        ahead = deque(reader.submit(read) for _ in range(AHEAD))
        for step in range(steps + WARM):
            if step == WARM:
                began = time.perf_counter()
            images, objects = zip(*ahead.popleft().result(), strict=True)
            ahead.append(reader.submit(read))
            optimizer.zero_grad(set_to_none=True)
            loss = sum(model(list(images), list(objects)).values())
            loss.backward()
            optimizer.step()
            loss.item()
        return steps / (time.perf_counter() - began)


def _model(side: int, classes: int) -> nn.Module:
    backbone = resnet_fpn_backbone(
        backbone_name=BACKBONE,
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    sizes = tuple(tuple(int(size * 2 ** (part / 3)) for part in range(3)) for size in SIZES)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(SIZES))
    model: nn.Module = RetinaNet(
        backbone, classes + 1, anchor_generator=anchors, min_size=side, max_size=side
    )
    return model


def _scene(files: tuple[str, str], rng: np.random.Generator) -> Scene:
    image, boxes = files
    pixels = cv2.imread(image)
    assert pixels is not None
    rows = np.loadtxt(boxes, ndmin=2, dtype=np.float32)
    if rng.random() < 0.5:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
        rows[:, [1, 3]] = pixels.shape[1] - rows[:, [3, 1]]
    numbers = torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)
    labels = torch.from_numpy(rows[:, 0].astype(np.int64))
    return numbers, {"boxes": torch.from_numpy(rows[:, 1:]), "labels": labels}
