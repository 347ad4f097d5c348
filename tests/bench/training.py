"""Cases h, m and n: trainings of services, in their own process, beside bare loops in PyTorch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.job import JobChange
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import TrainRequest
from ddstream.engine.engine import Engine
from ddstream.settings import Settings
from examples.digits.scans import write_scans
from examples.scenes import Scenes, write_scenes
from tests.bench import bare, bare_detection
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
        definition = _definition(repository, IMAGES, {"template": "resnet18", "nclasses": 10})
        data = [str(folder / "train"), str(folder / "held-out")]
        request = _request(data, BATCH, steps + bare.WARM)
        ours.append(asyncio.run(_trained(definition, request, steps)))
        theirs.append(bare.steps_a_second(folder / "train", BATCH, steps))
    return Result("h", f"training, batch {BATCH}", "steps/s", ours, theirs, goal=0.97)


def tables(ground: Ground) -> Result:
    """(m) Iterations a second of a perceptron on rows of numbers."""
    steps = ground.scaled(3000)
    rows = np.random.default_rng(0).normal(size=(4000, COLUMNS)).astype(np.float32)
    rows[:, -1] = rows[:, 0] > 0
    path = ground.folder / "rows.csv"
    names = ",".join([*(f"c{number}" for number in range(COLUMNS - 1)), "label"])
    np.savetxt(path, rows, "%.4f", ",", header=names, comments="")
    mllib = {"template": "mlp", "nclasses": 2, "template_params": {"layers": list(bare.LAYERS)}}
    ours, theirs = [], []
    for number in range(ground.rounds):
        definition = _definition(ground.folder / f"table-{number}", TABLES, mllib)
        request = _request([str(path), str(path)], ROWS, steps + bare.WARM)
        ours.append(asyncio.run(_trained(definition, request, steps)))
        theirs.append(bare.row_steps_a_second(rows, ROWS, steps))
    return Result("m", f"training on rows, batch {ROWS}", "steps/s", ours, theirs, goal=0.95)


def detection(ground: Ground) -> Result:
    """(n) Iterations a second of a RetinaNet on scenes of digits, mirrored by chance."""
    steps = ground.scaled(40)
    scenes = Scenes(train=64, test=1, side=SCENES)
    lists = write_scenes(ground.folder / "scenes", scenes).boxes
    params = {"backbone": bare_detection.BACKBONE, "anchor_sizes": list(bare_detection.SIZES)}
    mllib = {
        "template": "retinanet",
        "nclasses": scenes.boxes + 1,
        "template_params": params,
        "mirror": True,
    }
    ours, theirs = [], []
    for number in range(ground.rounds):
        definition = _definition(ground.folder / f"detection-{number}", OBJECTS, mllib)
        request = _request([str(path) for path in lists], FEW, steps + bare.WARM)
        ours.append(asyncio.run(_trained(definition, request, steps)))
        loop = bare_detection.steps_a_second(lists[0], SCENES, scenes.boxes, FEW, steps)
        theirs.append(loop)
    return Result("n", f"detection, batch {FEW}", "steps/s", ours, theirs, goal=0.95)


SIDE = 32
SCENES, FEW = 96, 8
ROWS, COLUMNS = 256, 31
IMAGES: dict[str, Any] = {
    "connector": "image",
    "width": SIDE,
    "height": SIDE,
    "scale": bare.SCALE,
    "mean": [bare.MEAN] * 3,
    "std": [bare.STD] * 3,
}
OBJECTS: dict[str, Any] = {
    "connector": "image",
    "width": SCENES,
    "height": SCENES,
    "bbox": True,
    "scale": bare.SCALE,
}
TABLES: dict[str, Any] = {"connector": "csv", "label": "label"}


async def _trained(definition: ServiceDefinition, request: TrainRequest, steps: int) -> float:
    """Iterations a second between the first message of live values and the last one."""
    folders = [Path(str(definition.model["repository"])), *map(Path, request.data)]
    async with Engine(Settings(roots=tuple(folder.parent for folder in folders))) as engine:
        await engine.create_service(SERVICE, definition)
        changes = engine.jobs()
        await engine.train(request)
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


def _definition(
    repository: Path, connector: dict[str, Any], mllib: dict[str, Any]
) -> ServiceDefinition:
    return ServiceDefinition.model_validate(
        {
            "mllib": "torch",
            "model": {"repository": str(repository), "create_repository": True},
            "parameters": {"input": connector, "mllib": mllib},
        }
    )


def _request(data: Sequence[str], batch: int, iterations: int) -> TrainRequest:
    solver = {"iterations": iterations, "solver_type": "ADAM", "base_lr": 1e-3}
    mllib = {"solver": solver, "net": {"batch_size": batch, "test_batch_size": batch}}
    return TrainRequest.model_validate(
        {
            "service": SERVICE,
            "data": list(data),
            "parameters": {"input": {"shuffle": True}, "mllib": mllib},
        }
    )
