"""Every Api: a detector is taught, finds objects, and is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddstream.api.parameters import envelope
from ddstream.api.train import TrainRequest
from ddstream.errors import ParameterError
from examples.scenes import SceneFiles, Scenes, write_scenes
from tests.conformance.calls import Desk

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SIDE = 48


@pytest.fixture(scope="module")
def scenes(folder: Path) -> SceneFiles:
    """A few digits on photographs, with their boxes."""
    if (folder / "scenes").exists():
        lists = tuple(folder / "scenes" / "detection" / f"{name}.txt" for name in ("train", "test"))
        return SceneFiles((lists[0], lists[1]), (lists[0], lists[1]))
    return write_scenes(folder / "scenes", Scenes(train=4, test=2, side=SIDE))


async def create(desk: Desk) -> None:
    connector = {"connector": "image", "width": SIDE, "height": SIDE, "bbox": True, "scale": 0.004}
    mllib = {"template": "yolox", "nclasses": 3, "template_params": {"width": 0.125}}
    await desk.create({"parameters": {"input": connector, "mllib": mllib}})


async def train(desk: Desk, scenes: SceneFiles) -> dict[str, Any]:
    mllib = {
        "solver": {"iterations": 2, "solver_type": "ADAM"},
        "net": {"batch_size": 2, "reg_weight": 0.5},
    }
    body = {
        "service": desk.name,
        "async": False,
        "data": [str(each) for each in scenes.boxes],
        "parameters": {"mllib": mllib, "output": {"measure": ["map-90", "map"]}},
    }
    return dict((await desk.api.train(envelope(TrainRequest, body))).body["measure"])


async def test_a_detector_is_taught_and_finds_objects(desk: Desk, scenes: SceneFiles) -> None:
    await create(desk)
    told = await train(desk, scenes)
    assert told["iteration"] == 2
    assert 0 <= told["map"] == told["map-90"] <= 1
    assert "map-50" not in told
    rest = told["l1_loss"] + told["conf_loss"] + told["cls_loss"]
    assert told["train_loss"] == pytest.approx(0.5 * told["iou_loss"] + rest, abs=1e-4)
    service = (await desk.api.get_service(desk.name)).body
    assert service["mltype"] == "detection"
    image = scenes.boxes[1].read_text().split()[0]
    answer = await desk.predict([image], bbox=True, best_bbox=1, logits=True)
    (found,) = answer.body["predictions"]
    assert found["uri"] == image
    assert len(found["classes"]) <= 1
    for each in found["classes"]:
        assert 0 <= each["bbox"]["xmin"] <= each["bbox"]["xmax"] < SIDE
        assert len(each["logits"]) == 3
    with pytest.raises(ParameterError, match="rois: unknown layer head"):
        await desk.predict([image], rois="head")


async def test_a_detector_is_measured_on_labelled_images(desk: Desk, scenes: SceneFiles) -> None:
    await create(desk)
    answer = await desk.predict([str(scenes.boxes[1])], measure=["map-50"])
    assert 0 <= answer.body["measure"]["map-50"] <= 1
    assert {"map_1", "map-50_3", "fp_2"} <= set(answer.body["measure"])
