"""Case h: the training of a service, in its own process, beside a bare loop in PyTorch."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from ddstream.api.job import JobChange
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import TrainRequest
from ddstream.engine.engine import Engine
from ddstream.settings import Settings
from examples.digits.scans import write_scans
from tests.bench import bare
from tests.bench.ground import Ground
from tests.bench.result import Result

BATCH = 32
SERVICE = "digits"


def training(ground: Ground) -> Result:
    """(h) Iterations a second of a ResNet-18 on digits of 32 x 32."""
    steps = ground.scaled(180)
    folder = ground.folder / "scans"
    write_scans(folder, side=SIDE)
    ours, theirs = [], []
    for number in range(ground.rounds):
        repository = ground.folder / f"training-{number}"
        ours.append(asyncio.run(_trained(folder, repository, steps)))
        theirs.append(bare.steps_a_second(folder / "train", BATCH, steps))
    return Result("h", f"training, batch {BATCH}", "steps/s", ours, theirs, goal=0.97)


SIDE = 32


async def _trained(data: Path, repository: Path, steps: int) -> float:
    """Iterations a second between the first message of live values and the last one."""
    async with Engine(Settings(roots=(data, repository))) as engine:
        await engine.create_service(SERVICE, _definition(repository))
        changes = engine.jobs()
        await engine.train(_request(data, steps + bare.WARM))
        moments = []
        async for change in changes:
            if change.record.status.ended:
                break
            moments.append((time.perf_counter(), _iteration(change)))
    timed = [each for each in moments if bare.WARM <= each[1] < steps + bare.WARM - 1]
    (first, began), (last, ended) = timed[0], timed[-1]
    return (ended - began) / (last - first)


def _iteration(change: JobChange) -> float:
    return float(change.record.measure.get("iteration", 0))


def _definition(repository: Path) -> ServiceDefinition:
    channels: dict[str, Any] = {"mean": [bare.MEAN] * 3, "std": [bare.STD] * 3}
    images = {"connector": "image", "width": SIDE, "height": SIDE, "scale": bare.SCALE}
    return ServiceDefinition.model_validate(
        {
            "mllib": "torch",
            "model": {"repository": str(repository), "create_repository": True},
            "parameters": {
                "input": images | channels,
                "mllib": {"template": "resnet18", "nclasses": 10},
            },
        }
    )


def _request(data: Path, iterations: int) -> TrainRequest:
    solver = {"iterations": iterations, "solver_type": "ADAM", "base_lr": 1e-3}
    mllib = {"solver": solver, "net": {"batch_size": BATCH, "test_batch_size": BATCH}}
    return TrainRequest.model_validate(
        {
            "service": SERVICE,
            "data": [str(data / "train"), str(data / "held-out")],
            "parameters": {"input": {"shuffle": True}, "mllib": mllib},
        }
    )
