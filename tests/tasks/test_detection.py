"""The detection task: what becomes of boxes, labels and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.api.image import ImageInput
from ddstream.api.predict import OutputParameters
from ddstream.connectors.images.fit import Fit
from ddstream.data import Array, Outputs, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.tasks import TASKS, Traits
from ddstream.tasks.detection import Detection, original

CLASSES = ["none", "cat", "dog", "cow"]
OUTPUTS: Outputs = {
    "boxes": np.array(
        [[[10, 20, 30, 40], [0, 0, 8, 9], [5, 5, 6, 6]], [[0, 0, 0, 0]] * 3], np.float32
    ),
    "labels": np.array([[2, 1, 2], [0, 0, 0]]),
    "scores": np.array([[0.75, 0.5, 0.25], [-1, -1, -1]], np.float32),
    "logits": np.arange(18, dtype=np.float32).reshape(2, 3, 3),
    "features": np.arange(12, dtype=np.float32).reshape(2, 3, 2),
}
SAMPLE = Sample("a.png", {"image": np.zeros((100, 200, 3), np.uint8)})


def decoded(
    outputs: Outputs = OUTPUTS, sample: Sample = SAMPLE, image: int = 0, **output: Any
) -> dict[str, Any]:
    task = Detection(Traits(CLASSES, 3))
    row = task.activate(outputs)[image]
    return dict(task.decode(row, sample, OutputParameters.parse(output, "output", ParameterError)))


def with_boxes(boxes: Array, labels: list[int], scores: list[float]) -> Outputs:
    return {
        "boxes": boxes[None].astype(np.float32),
        "labels": np.array([labels]),
        "scores": np.array([scores], np.float32),
    }


@pytest.mark.promise("predict.output.bbox")
def test_objects_have_their_boxes_when_these_are_asked_for() -> None:
    found = decoded(bbox=True)
    assert found["uri"] == "a.png"
    assert found["classes"] == [
        {"bbox": {"xmin": 10, "ymin": 20, "xmax": 30, "ymax": 40}, "prob": 0.75, "cat": "dog"},
        {"bbox": {"xmin": 0, "ymin": 0, "xmax": 8, "ymax": 9}, "prob": 0.5, "cat": "cat"},
        {
            "last": True,
            "bbox": {"xmin": 5, "ymin": 5, "xmax": 6, "ymax": 6},
            "prob": 0.25,
            "cat": "dog",
        },
    ]
    assert all("bbox" not in each for each in decoded()["classes"])


def test_an_image_without_objects_has_no_classes() -> None:
    assert decoded(image=1, bbox=True) == {"uri": "a.png", "loss": 0.0, "classes": []}


@pytest.mark.promise("predict.output.best_bbox")
def test_best_bbox_keeps_those_of_the_highest_score_whatever_their_order() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]])
    outputs = with_boxes(boxes, [1, 2, 3], [0.1, 0.9, 0.5])
    assert [each["cat"] for each in decoded(outputs, best_bbox=2)["classes"]] == ["dog", "cow"]
    assert len(decoded(outputs, best_bbox=-1)["classes"]) == 3
    assert len(decoded(outputs, best_bbox=0)["classes"]) == 3


def test_only_scores_strictly_above_the_threshold_are_kept() -> None:
    assert len(decoded(confidence_threshold=0.5)["classes"]) == 1
    assert len(decoded(confidence_threshold=0.49)["classes"]) == 2
    assert decoded(confidence_threshold=0.9)["classes"] == []


def test_best_bounds_the_classes_of_one_and_the_same_box() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [1, 0, 4, 4], [0, 0, 4, 4]])
    outputs = with_boxes(boxes, [1, 2, 3, 3], [0.9, 0.8, 0.7, 0.6])
    assert [each["cat"] for each in decoded(outputs)["classes"]] == ["cat", "cow"]
    assert len(decoded(outputs, best=2)["classes"]) == 3
    assert len(decoded(outputs, best=-1)["classes"]) == 4
    assert decoded(outputs, best=0)["classes"] == []


def test_a_class_without_a_name_has_its_number() -> None:
    outputs = with_boxes(np.array([[0, 0, 4, 4]]), [7], [0.9])
    assert decoded(outputs)["classes"][0]["cat"] == "7"


@pytest.mark.promise("predict.output.logits")
def test_logits_are_added_to_each_object_when_asked_for() -> None:
    assert [each["logits"] for each in decoded(logits=True)["classes"]] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
    ]
    assert "logits" not in decoded()["classes"][0]
    without = {name: OUTPUTS[name] for name in ("boxes", "labels", "scores")}
    with pytest.raises(ParameterError, match="logits: the model does not give any"):
        decoded(without, logits=True)


@pytest.mark.promise("predict.output.rois")
def test_rois_have_boxes_and_features() -> None:
    found = decoded(rois="layer", confidence_threshold=0.3)
    assert found["classes"] == []
    assert [each["vals"] for each in found["rois"]] == [[0, 1], [2, 3]]
    assert found["rois"][0]["bbox"]["xmin"] == 10
    assert found["rois"][1]["cat"] == "cat"
    assert found["rois"][1]["last"] is True
    assert "vals" not in found


@pytest.mark.promise("predict.output.multibox_rois")
def test_multibox_rois_are_the_mean_of_an_images_features() -> None:
    found = decoded(rois="layer", multibox_rois=True, confidence_threshold=0.3)
    assert found["vals"] == [1, 2]
    assert len(found["rois"]) == 2
    assert decoded(rois="layer", multibox_rois=True, image=1)["vals"] == []
    with pytest.raises(ParameterError, match="multibox_rois needs rois"):
        decoded(multibox_rois=True)


def test_boxes_of_a_resized_image_are_pixels_of_the_original_one() -> None:
    sample = Sample("a.png", {"image": np.zeros((100, 200, 3))}, meta={"size": (51, 801)})
    found = original(np.array([[50, 50, 100, 75], [-5, -5, 300, 300]]), sample)
    assert found.tolist() == [[200, 25, 400, 37.5], [0, 0, 800, 50]]


@given(
    st.tuples(st.integers(8, 90), st.integers(8, 90)),
    st.sampled_from(
        [
            {"width": -1, "height": -1},
            {"width": 64, "height": 48},
            {"width": -1, "height": 40},
            {"width": 64, "height": -1, "aspect_ratio_pad": True},
            {"scale_min": 30, "scale_max": 50},
            {"width": 64, "height": 64, "crop_width": 40, "crop_height": 60},
            {"width": -1, "height": -1, "crop_width": 8, "crop_height": 8},
        ]
    ),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_boxes_come_back_to_where_they_were(
    size: tuple[int, int], options: dict[str, Any], corners: tuple[float, ...]
) -> None:
    wanted = ImageInput.parse(options, "input", InputError)
    height, width = size
    fit = Fit.of(height, width, wanted)
    xs, ys = sorted(corners[:2]), sorted(corners[2:])
    box = np.array([[xs[0] * width, ys[0] * height, xs[1] * width, ys[1] * height]])
    image = np.zeros((fit.window.height, fit.window.width, 3), np.uint8)
    sample = Sample("a.png", {"image": image}, meta={"size": size, "shown": fit.shown})
    # The contract's coordinates end at the last pixel, box files' behind it.
    assert original(fit.boxes(box), sample) == pytest.approx(box, abs=1.01)


def test_a_test_set_is_scored_by_its_boxes() -> None:
    task = TASKS.load("detection")(Traits(CLASSES, 3))
    tally = task.tally(["map", "map-90"])
    target = {name: np.asarray(OUTPUTS[name][0]) for name in ("boxes", "labels")}
    nothing: dict[str, Array] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64)}
    samples = [Sample("a", {}, target), Sample("b", {}, nothing)]
    for sample, row in zip(samples, task.activate(OUTPUTS), strict=True):
        tally.add([row], [sample])
    found = tally.result()
    assert found["map"] == found["map-90"] == found["map_2"] == 1.0
    assert found["map_3"] == 0.0
    with pytest.raises(InputError, match="c has no boxes"):
        tally.add(task.activate(OUTPUTS)[:1], [Sample("c", {})])


def test_a_task_knows_its_measures() -> None:
    task = TASKS.load("detection")()
    assert task.name == "detection"
    assert task.measures == ("map",)
    assert [task.knows(name) for name in ("map-75", "raw", "acc")] == [True, True, False]
