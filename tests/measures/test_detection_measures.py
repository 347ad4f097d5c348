"""Measures of detectors: against COCO's own program, and against what can be counted by hand."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO  # type: ignore[import-untyped]
from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

from ddstream.errors import ParameterError
from ddstream.measures.detection import Detected, Objects, knows

CLASSES = 4
PERCENTS = (5, 50, 75, 90)
Image = tuple[Objects, Objects]
ONE = np.array([[0, 0, 10, 10]])


def objects(boxes: Any, labels: Sequence[int], scores: Sequence[float] = ()) -> Objects:
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels), np.array(scores))


def measured(images: Sequence[Image], requests: Sequence[str], nclasses: int = 2) -> dict[str, Any]:
    detected = Detected(requests, nclasses)
    for found, truth in images:
        detected.add(found, truth)
    return detected.result()


def crowd(seed: int, images: int = 12) -> list[Image]:
    """Images where objects overlap and are found too low, twice, as another class, or not at all;
    some have none, class 4 is never there."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        count = int(rng.integers(0, 9))
        corners = rng.uniform(0, 60, (count, 2))
        boxes = np.hstack([corners, corners + rng.uniform(5, 40, (count, 2))])
        labels = rng.integers(1, CLASSES, count)
        copies = rng.integers(0, 3, count)
        moved = np.repeat(boxes, copies, axis=0)
        moved[:, 2:] += rng.normal(0, 4, (len(moved), 2))
        moved += np.tile(rng.normal(0, 3, (len(moved), 2)), 2)
        noise = rng.uniform(0, 60, (int(rng.integers(0, 4)), 2))
        found = np.vstack([moved, np.hstack([noise, noise + 20])])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        said = np.concatenate([np.repeat(labels, copies), rng.integers(1, CLASSES + 1, len(noise))])
        wrong = rng.random(len(said)) < 0.15
        said[wrong] = rng.integers(1, CLASSES + 1, int(wrong.sum()))
        made.append(
            (
                objects(found, said.tolist(), rng.random(len(said)).tolist()),
                objects(boxes, labels.tolist()),
            )
        )
    return made


def coco(images: Sequence[Image], percents: Sequence[int]) -> np.ndarray:
    """Average precisions T x C of pycocotools, -1 for a class that is not there."""
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (detections, truth) in enumerate(images):
        for one, lines in ((truth, truths), (detections, found)):
            for i, (box, label) in enumerate(
                zip(one.boxes.tolist(), one.labels.tolist(), strict=True)
            ):
                wide, high = box[2] - box[0], box[3] - box[1]
                line = {"image_id": image, "category_id": label, "area": wide * high, "iscrowd": 0}
                line |= {"bbox": [box[0], box[1], wide, high], "id": len(lines) + 1}
                lines.append(line | ({"score": float(one.scores[i])} if len(one.scores) else {}))
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(len(images))],
            "categories": [{"id": label} for label in range(1, CLASSES + 1)],
            "annotations": truths,
        }
        data.createIndex()
        judge = COCOeval(data, data.loadRes(found), "bbox")
        judge.params.iouThrs = np.array(percents) / 100
        judge.params.maxDets = [10_000]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precisions = np.asarray(judge.eval["precision"])[:, :, :, 0, 0]
    return np.asarray(precisions.mean(axis=1))


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_is_that_of_coco(seed: int) -> None:
    images = crowd(seed)
    table = coco(images, PERCENTS)
    found = measured(images, [f"map-{percent:02}" for percent in PERCENTS], CLASSES)
    present = table[0] >= 0
    assert not present.all()
    assert present.any()
    for row, percent in enumerate(PERCENTS):
        name = f"map-{percent:02}"
        assert found[name] == pytest.approx(table[row][present].mean(), abs=1e-9)
        for label in range(1, CLASSES + 1):
            expected = max(0.0, table[row][label - 1])
            assert found[f"{name}_{label}"] == pytest.approx(expected, abs=1e-9)
    assert found["map"] == pytest.approx(np.mean([found[f"map-{p:02}"] for p in PERCENTS]))
    assert found["map_1"] == pytest.approx(np.mean([found[f"map-{p:02}_1"] for p in PERCENTS]))


def test_images_may_come_in_any_order() -> None:
    images = crowd(3)
    assert measured(images, ["map"], CLASSES) == pytest.approx(
        measured(images[::-1], ["map"], CLASSES)
    )


def test_a_class_that_is_never_found_has_no_precision() -> None:
    truth = objects([ONE[0], ONE[0] + 20], [1, 2])
    found = measured([(objects(ONE, [1], [0.9]), truth)], ["map"])
    assert found["map"] == 0.5
    assert (found["map_1"], found["map_2"]) == (1.0, 0.0)


def test_a_detection_of_a_class_that_its_image_has_not_counts_against_it() -> None:
    first = (objects(ONE, [1], [0.9]), objects([], []))
    second = (objects(ONE, [1], [0.8]), objects(ONE, [1]))
    assert measured([first, second], ["map"])["map_1"] == pytest.approx(0.5)


def test_an_object_found_twice_is_found_once() -> None:
    twice = objects([ONE[0], ONE[0]], [1, 1], [0.9, 0.8])
    found = measured([(twice, objects([ONE[0], ONE[0] + 20], [1, 1]))], ["map"], 1)
    assert found["map"] == pytest.approx(51 / 101)
    assert found["fp_1"] == 0.5


@pytest.mark.parametrize(
    ("requests", "names"),
    [
        (["map"], {"map-50"}),
        (["map-90", "map"], {"map-90"}),
        (["map-05", "map-50"], {"map-05", "map-50"}),
        (["map-50", "map-50"], {"map-50"}),
    ],
)
def test_only_the_overlaps_asked_for_are_measured(requests: list[str], names: set[str]) -> None:
    found = measured([(objects(ONE, [1], [0.9]), objects(ONE, [1]))], requests)
    assert {name for name in found if name.startswith("map-") and "_" not in name} == names


@pytest.mark.parametrize("request_", ["map-0", "map-100", "map-0.5", "map--1"])
def test_an_overlap_that_is_none_is_refused(request_: str) -> None:
    with pytest.raises(ParameterError, match="an overlap in percent, 1 to 99"):
        Detected([request_], 2)


def test_false_positives_are_sure_ones_an_object_of_their_class() -> None:
    wrong = [ONE[0] + 40, ONE[0] + 60, ONE[0] + 80]
    found = objects([ONE[0], *wrong], [1, 1, 1, 2], [0.9, 0.51, 0.5, 0.6])
    truth = objects([ONE[0], ONE[0] + 20], [1, 1])
    result = measured([(found, truth)], ["map"])
    assert (result["fp_1"], result["fp_2"]) == (0.5, 1.0)
    assert result["fp"] == 0.75


def test_raw_tells_what_each_object_was_taken_for() -> None:
    detected = Detected(["raw"], 2, ["none", "cat", "dog"])
    detected.add(
        objects([ONE[0], ONE[0] + 40], [1, 1], [0.9, 0.3]), objects([ONE[0], ONE[0] + 20], [1, 2])
    )
    assert detected.result() == {
        "raw": {
            "truths": ["cat", "UNDEFINED_GT", "dog"],
            "estimations": ["cat", "cat", "NO_DETECTION"],
            "confidences": [0.9, 0.3, 1.0],
        }
    }


def test_a_test_set_without_objects_or_images_has_measures_too() -> None:
    nothing = objects([], [])
    for images in ([], [(nothing, nothing)], [(objects(ONE, [2], [0.9]), nothing)]):
        found = measured(images, ["map-50"])
        assert found["map"] == found["map-50"] == 0.0
    assert measured([], ["raw"]) == {"raw": {"truths": [], "estimations": [], "confidences": []}}


def test_names_of_other_families_are_not_known() -> None:
    assert [knows(name) for name in ("map", "map-75", "raw", "acc", "f1")] == [1, 1, 1, 0, 0]
    assert measured([], ["acc"]) == {}
