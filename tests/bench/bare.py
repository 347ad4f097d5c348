"""The bare loops that ddstream is measured against: no stream, no server, no overlap."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle, islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torchvision.models import resnet18

SIDE = 224
BATCH = 8
SCALE, MEAN, STD = 1 / 255, 0.5, 0.5


def images_a_second(jpegs: Sequence[bytes], images: int) -> float:
    """Decode a batch, run a folded channels_last ResNet-18 on it, and so on."""
    model = fuse(resnet18(weights=None, num_classes=1000).eval())
    model = model.to(memory_format=torch.channels_last)
    content = list(islice(cycle(jpegs), images))
    with torch.inference_mode():
        _classified(model, content[:BATCH])
        began = time.perf_counter()
        for first in range(0, images, BATCH):
            _classified(model, content[first : first + BATCH])
        return images / (time.perf_counter() - began)


def _classified(model: nn.Module, jpegs: Sequence[bytes]) -> list[int]:
    pixels = np.stack([_pixels(jpeg) for jpeg in jpegs])
    classes: list[int] = model(_numbers(torch.from_numpy(pixels))).softmax(1).argmax(1).tolist()
    return classes


def _pixels(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_BGR)
    assert image is not None
    return cv2.resize(image, (SIDE, SIDE))


def _numbers(pixels: torch.Tensor) -> torch.Tensor:
    # N x H x W x C seen as N x C x H x W is channels_last already.
    return pixels.permute(0, 3, 1, 2).float().mul_(SCALE).sub_(MEAN).div_(STD)


def steps_a_second(folder: Path, batch: int, steps: int) -> float:
    """Train a ResNet-18 on the class folders below `folder`, all images decoded before."""
    images, targets = _decoded(folder)
    torch.manual_seed(0)
    model = resnet18(weights=None, num_classes=int(targets.max()) + 1)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = np.random.default_rng(0)
    began = 0.0
    for step in range(steps + WARM):
        if step == WARM:
            began = time.perf_counter()
        chosen = torch.from_numpy(order.integers(0, len(images), batch))
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(_numbers(images[chosen])), targets[chosen])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()
    return steps / (time.perf_counter() - began)


def row_steps_a_second(rows: np.ndarray, batch: int, steps: int) -> float:
    """Train a perceptron on rows of numbers, whose last one is 0 or 1; a thread reads ahead."""
    inputs, targets = rows[:, :-1].copy(), rows[:, -1].astype(np.int64)
    torch.manual_seed(0)
    sizes = (inputs.shape[1], *LAYERS)
    pairs = [(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)]
    model = nn.Sequential(*chain.from_iterable(pairs), nn.Linear(sizes[-1], 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    order = np.random.default_rng(0)

    def read() -> tuple[torch.Tensor, torch.Tensor]:
        chosen = order.integers(0, len(inputs), batch)
        return torch.from_numpy(inputs[chosen]), torch.from_numpy(targets[chosen])

    began = 0.0
    with ThreadPoolExecutor(1) as reader:
        ahead = deque(reader.submit(read) for _ in range(AHEAD))
        for step in range(steps + WARM):
            if step == WARM:
                began = time.perf_counter()
            taken, wanted = ahead.popleft().result()
            ahead.append(reader.submit(read))
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(taken), wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()
        return steps / (time.perf_counter() - began)


AHEAD = 3
"""Batches that are read ahead of a training."""
LAYERS = (256, 256)
WARM = 10
"""Training steps before the clock starts."""


def _decoded(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    paths = sorted(folder.glob("*/*.png"))
    images = [image for path in paths if (image := cv2.imread(str(path))) is not None]
    targets = [int(path.parent.name) for path in paths]
    return torch.from_numpy(np.stack(images)), torch.tensor(targets)
