"""The packaged workflows: yolox and segformer from a list file to drawn predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import orjson
import pytest
import yaml

from examples.scenes import SceneFiles, Scenes, write_scenes
from tests.commands.conftest import Command, Said

pytestmark = pytest.mark.timeout(300)

SIDE = 64
SMALL: dict[str, dict[str, Any]] = {
    "yolox": {"yolox_flavor": "yolox_nano", "width": 0.125},
    "segformer": {
        "hidden_sizes": [8, 8, 8, 8],
        "depths": [1, 1, 1, 1],
        "heads": [1, 1, 1, 1],
        "decoder_hidden_size": 8,
    },
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneFiles:
    return write_scenes(tmp_path_factory.mktemp("scenes"), Scenes(train=6, test=3, side=SIDE))


def trained(
    deepdetect: Command, name: str, data: tuple[Path, Path], model: Path, *more: str
) -> Said:
    """A short training of a small model."""
    config = model.with_suffix(".yaml")
    options = {"service_mllib": {"template_params": SMALL[name]}, "nclasses": 3 + (name[0] == "s")}
    config.write_text(yaml.safe_dump(options))
    return deepdetect(
        *("train", name, "--config", config, "--repository", model),
        *("--train-data", data[0], "--test-data", data[1], "--width", SIDE, "--height", SIDE),
        *("--iterations", 2, "--poll-interval", 0.05, "--visdom-results-count", 2),
        *more,
    )


def checked(done: Said, model: Path, measures: set[str]) -> None:
    assert (done.code, done.err) == (0, "")
    assert done.events[-1]["status"] == "finished"
    assert measures <= set(done.events[-1]["measure"])
    pictures = [each for each in done.of("artifact") if each["kind"] == "visual_result"]
    assert [each["index"] for each in pictures] == [0, 1]
    for each in pictures:
        assert Path(each["path"]).parent == model / "visdom-results"
        assert cv2.imread(each["path"]) is not None


def predicted(deepdetect: Command, name: str, images: list[Path], model: Path) -> Any:
    """Prediction objects of images, drawn too."""
    out = model / "out"
    words = (*images, "--repository", model, "--output", out, "--visualize")
    done = deepdetect("infer", name, *words, "--batch-size", 2)
    assert (done.code, done.err) == (0, "")
    events = orjson.loads(done.out)
    found = [each for each in events if each["event"] == "prediction"]
    assert [each["image"] for each in found] == [str(image) for image in images]
    drawings = [Path(each["path"]) for each in events if each["event"] == "artifact"]
    assert len(drawings) == len(images)
    assert all(cv2.imread(str(path)) is not None for path in drawings)
    return [each["prediction"] for each in found]


@pytest.mark.promise("python.cli")
def test_boxes_are_learned_and_drawn_by_yolox(
    deepdetect: Command, scenes: SceneFiles, tmp_path: Path
) -> None:
    model = tmp_path / "yolox"
    # In one call, without a look at it in between.
    done = trained(deepdetect, "yolox", scenes.boxes, model, "--sync")
    assert not done.of("training_status")
    losses = [each["iteration"] for each in done.of("metric") if each["name"] == "train_loss"]
    assert losses == [0, 1]
    checked(done, model, {"map-05", "map-50", "map-90", "iou_loss"})
    assert done.of("dataset_check")[0]["boxes"] > 0
    images = sorted((scenes.boxes[0].parents[1] / "images").glob("test-*.png"))
    for prediction in predicted(deepdetect, "yolox", images, model):
        assert all(each["prob"] > 0.25 and "bbox" in each for each in prediction["classes"])


@pytest.mark.promise("python.cli")
def test_masks_are_learned_and_drawn_by_segformer(
    deepdetect: Command, scenes: SceneFiles, tmp_path: Path
) -> None:
    model = tmp_path / "segformer"
    done = trained(deepdetect, "segformer", scenes.masks, model)
    checked(done, model, {"meaniou", "acc"})
    images = sorted((scenes.masks[0].parents[1] / "images").glob("test-*.png"))
    for prediction in predicted(deepdetect, "segformer", images, model):
        assert prediction["imgsize"] == {"height": SIDE, "width": SIDE}
        assert len(prediction["vals"]) == SIDE * SIDE
