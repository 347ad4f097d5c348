"""Services of probes and of real torch models, and what is asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ddstream.api.envelope import Answer
from ddstream.api.parameters import envelope
from ddstream.api.predict import PredictRequest
from ddstream.api.service import ServiceDefinition
from ddstream.backends import BACKENDS
from ddstream.engine.engine import Engine

if "probe" not in BACKENDS:
    BACKENDS.add("probe", "tests.engine.probe:ProbeBackend")


class Grey(torch.nn.Module):
    """Two scores an image, the first of them its mean / 64. A pass of more than four images
    asks for more memory than any machine has, and an image of white only cannot be done."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[0] > 4:
            images = images + torch.empty([1 << 55])[0]
        means = images.mean(dim=[1, 2, 3])
        if bool((means == 255).any()):
            raise ValueError("snow blind")
        return torch.stack([means / 64, torch.zeros_like(means)], dim=1)


class Patient(Grey):
    """The same, with memory for all."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean(dim=[1, 2, 3])
        if bool((means == 255).any()):
            raise ValueError("snow blind")
        return torch.stack([means / 64, torch.zeros_like(means)], dim=1)


def scripted(folder: Path, model: torch.nn.Module) -> None:
    """Write a repository whose model is this one."""
    repository = folder / "model"
    repository.mkdir(parents=True)
    with pytest.warns(FutureWarning, match="deprecated"):
        content = torch.jit.script(model).save_to_buffer()  # type: ignore[no-untyped-call]
    (repository / "grey.pt").write_bytes(content)


def chance(level: int) -> float:
    """The probability that a grey model gives class 0 of an image of this level."""
    return float(1 / (1 + np.exp(-level / 64)))


def png(level: int, side: int = 8) -> bytes:
    """An image of one level of grey."""
    return cv2.imencode(".png", np.full((side, side, 3), level, np.uint8))[1].tobytes()


def definition(folder: Path, library: str = "probe", **parameters: Any) -> ServiceDefinition:
    """A service on `folder`/model; the keywords are its parameters by part."""
    own = {
        "input": {"connector": "image", "width": 8, "height": 8, **parameters.pop("input", {})},
        "mllib": {"nclasses": 2, **parameters.pop("mllib", {})},
        "output": {"best": 2},
    }
    repository = {"repository": str(folder / "model"), "create_repository": True}
    body = {"mllib": library, "model": repository, "parameters": {**own, **parameters}}
    return envelope(ServiceDefinition, body)


def request(service: str, *data: Any, **parameters: Any) -> PredictRequest:
    """A predict request."""
    raw = {"service": service, "data": list(data), "parameters": parameters}
    return envelope(PredictRequest, raw)


def levels(answer: Answer) -> list[float]:
    """The probability of class 0 in each prediction."""
    return [
        next(each["prob"] for each in prediction["classes"] if each["cat"] == "0")
        for prediction in answer.body["predictions"]
    ]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that only the loop or a thread can bring about."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - threads set no event of this loop
            await asyncio.sleep(0.005)


async def in_flight(engine: Engine, calls: int) -> None:
    """Let the tasks run that submit so many calls."""
    await until(lambda: engine.capacity().calls >= calls)
