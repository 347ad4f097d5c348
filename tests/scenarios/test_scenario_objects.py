"""Detectors, segmenters and readers as the reference's suite asks for them (contract 9.2, 9.3)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from examples.scenes import SceneFiles, Scenes, write_scenes
from tests.scenarios.conftest import IMAGES, Client, solving
from tests.words import Words, write_words

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(600)

SIDE = 64
SQUARE = IMAGES | {"width": SIDE, "height": SIDE}
SEGFORMER: dict[str, Any] = {
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "heads": [1, 1, 2, 2],
    "decoder_hidden_size": 8,
}
DETR: dict[str, Any] = {
    **{"backbone": "resnet18", "num_queries": 5, "hidden_dim": 16, "heads": 2},
    **{"encoder_layers": 1, "decoder_layers": 2, "feedforward": 16},
}


@pytest.fixture(scope="module")
def scenes(root: Path) -> SceneFiles:
    """A few digits on photographs, with boxes and masks."""
    return write_scenes(root / "scenes", Scenes(train=4, test=2, side=SIDE))


@pytest.fixture(scope="module")
def large(root: Path) -> Path:
    """A photograph of 500 x 374 pixels."""
    small = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    assert cv2.imwrite(str(root / "large.png"), cv2.resize(small, (500, 374)))
    return root / "large.png"


def test_detection_yolox(client: Client, scenes: SceneFiles) -> None:
    mllib = {"template": "yolox", "nclasses": 3, "template_params": {"width": 0.125}}
    client.create("yolox", SQUARE | {"bbox": True, "db": True}, mllib)
    training = solving(3) | {"net": {"batch_size": 2, "test_batch_size": 2, "reg_weight": 0.5}}
    names = ["map-05", "map-50", "map-90"]
    body = client.train("yolox", list(scenes.boxes), training, names, seed=12347, shuffle=True)
    told = body["measure"]
    assert told["iteration"] == 3.0
    assert all(0 <= told[name] <= 1 for name in ("map", *names))
    assert told["map"] == pytest.approx(sum(told[name] for name in names) / 3)
    rest = told["cls_loss"] + told["l1_loss"] + told["conf_loss"]
    assert told["train_loss"] == pytest.approx(0.5 * told["iou_loss"] + rest, abs=1e-4)
    image = scenes.boxes[1].read_text().split()[0]
    content = base64.b64encode(Path(image).read_bytes()).decode()
    (found,) = client.predict("yolox", [image], bbox=True, best_bbox=3)
    (sent,) = client.predict("yolox", [content], bbox=True, best_bbox=3)
    assert (found["uri"], sent["uri"]) == (image, "0")
    assert found["classes"] == sent["classes"]
    (none,) = client.predict("yolox", [image], bbox=True, confidence_threshold=0.9999)
    assert none["classes"] == []


def test_detection_detr(client: Client, scenes: SceneFiles) -> None:
    mllib = {"template": "detr", "nclasses": 3, "template_params": DETR}
    client.create("detr", SQUARE | {"bbox": True}, mllib)
    training = solving(2, clip=True, clip_norm=0.1) | {"net": {"batch_size": 2}}
    told = client.train("detr", list(scenes.boxes), training, ["map"])["measure"]
    assert 0 <= told["map"] <= 1
    assert {"loss_ce", "loss_bbox", "loss_giou", "loss_ce_0", "total_loss"} <= set(told)
    assert told["total_loss"] == pytest.approx(told["train_loss"], rel=1e-5)


def test_segmentation(client: Client, scenes: SceneFiles, large: Path) -> None:
    mllib = {"template": "segformer", "template_params": SEGFORMER, "nclasses": 4}
    client.create("segformer", SQUARE | {"segmentation": True}, mllib | {"segmentation": True})
    own = {"scale": 0.0039, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    training = solving(2) | {"crop_size": 48, "test_crop_samples": 2, "mirror": True}
    body = client.train("segformer", list(scenes.masks), training, ["meaniou", "acc"], **own)
    told = body["measure"]
    assert 0 <= told["meanacc"] <= 1
    assert 0 <= told["meaniou"] <= 1
    assert {"clacc", "cliou"} <= set(body["measures"][0])
    (found,) = client.predict("segformer", [large], confidences=["best"])
    assert found["imgsize"] == {"height": 374, "width": 500}
    assert (len(found["vals"]), len(found["confidences"]["best"])) == (187000, 187000)
    assert (found["classes"], found["last"]) == ([], True)
    (sure,) = client.predict("segformer", [large], confidence_threshold=0.3)
    assert (len(sure["vals"]), "confidences" in sure) == (187000, False)


def test_ctc_native(client: Client, root: Path) -> None:
    words = write_words(root / "words", Words(train=8, test=2))
    connector = {"connector": "image", "width": 64, "height": 32, "ctc": True, "db": True}
    params = {"hidden_size": 8, "num_layers": 1, "channels": 16}
    client.create("reader", connector, {"template": "crnn", "ctc": True, "template_params": params})
    told = client.train("reader", list(words), solving(2), ["acc"])["measure"]
    assert 0 <= told["acc"] <= 1
    assert {"checkpoint-2.npt", "corresp.txt"} <= client.files("reader")
    image = words[1].read_text().split()[0]
    (found,) = client.predict("reader", [image], ctc=True, blank_label=0)
    (text,) = found["classes"]
    assert set(text) == {"last", "prob", "cat"}
    assert text["prob"] > 0
    client.dd.delete_service("reader", clear="lib")
    assert "checkpoint-2.npt" not in client.files("reader")
