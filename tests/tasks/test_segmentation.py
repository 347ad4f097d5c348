"""The segmentation task: maps on the original image, confidences, thresholds, measures."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from ddstream.api.envelope import Json, dumps
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.tasks import TASKS, Traits
from ddstream.tasks.segmentation import CLASSES, CONFIDENCES, Segmentation
from tests.tasks.tallies import tallied

SEEN = "shown"


def outputs(logits: Array) -> dict[str, Array]:
    """What a model gives of logits N x C x h x w."""
    shares = torch.from_numpy(logits).softmax(1).numpy()
    return {
        OUTPUT: logits,
        CLASSES: shares.argmax(1).astype(np.uint8),
        CONFIDENCES: shares.max(1),
    }


def decoded(logits: Array, meta: dict[str, Any] | None = None, **output: object) -> Json:
    task = Segmentation(Traits(nclasses=logits.shape[0]))
    (row,) = task.activate(outputs(logits[None]))
    return task.decode(row, Sample("a.png", {}, meta=meta or {}), OutputParameters(**output))  # type: ignore[arg-type]


def of_shares(*shares: float) -> Array:
    """Logits of one pixel."""
    return np.log(np.array(shares, np.float32))[:, None, None]


def random_logits(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_values_are_class_ids_row_by_row_as_doubles() -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[[0, 2, 1, 2], [0, 0, 1, 1], [0, 1, 0, 1]] = 5
    found = decoded(logits, {"size": (2, 2)})
    assert found["uri"] == "a.png"
    assert found["classes"] == []
    assert found["imgsize"] == {"height": 2, "width": 2}
    assert "confidences" not in found
    assert b'"vals":[0.0,2.0,1.0,2.0]' in dumps(found)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(1, 24))
def test_a_map_is_put_on_the_original_as_opencv_does(
    high: int, wide: int, rows: int, columns: int
) -> None:
    logits = random_logits(4, rows, columns)
    found = decoded(logits, {"size": (high, wide)}, confidences=["best"])
    given_outputs = outputs(logits[None])
    nearest = cv2.resize(
        given_outputs[CLASSES][0], (wide, high), interpolation=cv2.INTER_NEAREST_EXACT
    )
    if all(few & -few <= many & -many for few, many in ((rows, high), (columns, wide))):
        # With more factors of 2 in the map than in the image, two of its pixels may be as near.
        assert (found["vals"].reshape(high, wide) == nearest).all()
    smooth = functional.interpolate(
        torch.from_numpy(given_outputs[CONFIDENCES][None]), (high, wide), mode="bilinear"
    )
    best = found["confidences"]["best"]
    assert best.reshape(high, wide) == pytest.approx(smooth[0, 0].numpy(), abs=1e-5)


def test_a_large_answer_stays_an_array_and_becomes_json() -> None:
    found = decoded(random_logits(2, 64, 64), {"size": (374, 500)}, confidences=["best"])
    assert isinstance(found["vals"], np.ndarray)
    answer = json.loads(dumps(found))
    assert len(answer["vals"]) == len(answer["confidences"]["best"]) == 187_000
    assert set(answer["vals"]) == {0.0, 1.0}


def test_what_was_padded_is_cut_off_and_what_was_cropped_is_background() -> None:
    # An image of 2 x 4 pixels in the middle of a square of 4: rows -1 to 3 are shown.
    logits = np.zeros((2, 4, 4), np.float32)
    logits[1, 0] = logits[1, 3] = 9
    logits[1, 1, 2] = 9
    padded = decoded(logits, {"size": (2, 4), SEEN: (0, -1, 4, 3)})
    assert padded["vals"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    # The middle 2 x 2 of an image of 4 x 4.
    cropped = decoded(
        np.stack([np.zeros((2, 2)), np.full((2, 2), 9.0)]).astype(np.float32),
        {"size": (4, 4), SEEN: (1, 1, 3, 3)},
        confidences=["best"],
    )
    assert cropped["vals"].reshape(4, 4)[1:3, 1:3].tolist() == [[1, 1], [1, 1]]
    assert cropped["vals"].sum() == 4
    assert (cropped["confidences"]["best"].reshape(4, 4) > 0).sum() == 4


@pytest.mark.promise("predict.output.confidence_threshold")
def test_a_class_that_is_not_above_the_threshold_gives_way_to_the_background() -> None:
    logits = of_shares(0.2, 0.5, 0.3)
    assert decoded(logits)["vals"].tolist() == [1]
    assert decoded(logits, confidence_threshold=0.49)["vals"].tolist() == [1]
    assert decoded(logits, confidence_threshold=0.51)["vals"].tolist() == [0]
    assert decoded(of_shares(0.5, 0.3, 0.2), confidence_threshold=0.9)["vals"].tolist() == [0]
    exactly = of_shares(0.25, 0.5, 0.25)
    assert decoded(exactly, confidence_threshold=0.5)["vals"].tolist() == [0]


@pytest.mark.promise("predict.output.confidences")
def test_confidences_are_of_the_best_of_all_and_of_single_classes() -> None:
    logits = of_shares(0.2, 0.5, 0.3)
    plain = decoded(logits, confidences=["best", "2"])["confidences"]
    assert {name: each.tolist() for name, each in plain.items()} == {
        "best": pytest.approx([0.5]),
        "2": pytest.approx([0.3]),
    }
    every = decoded(logits, confidences=["all"])["confidences"]
    assert {name: each.tolist() for name, each in every.items()} == {
        "0": pytest.approx([0.2]),
        "1": pytest.approx([0.5]),
        "2": pytest.approx([0.3]),
    }
    assert list(decoded(logits, confidences=["1", "all", "best"])["confidences"]) == [
        "best",
        "0",
        "1",
        "2",
    ]


@pytest.mark.parametrize("name", ["3", "-1", "worst", "1.0", "²"])
def test_confidences_of_what_is_no_class_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="neither best, all nor one of the classes 0 to 2"):
        decoded(of_shares(0.2, 0.5, 0.3), confidences=[name])


def test_a_test_set_is_scored_by_its_masks() -> None:
    task = Segmentation(Traits(["sky", "sea"], nclasses=2))
    logits = np.zeros((1, 2, 2, 2), np.float32)
    logits[0, 1, 0] = 1
    found = tallied(task, task.activate(outputs(logits)), [np.eye(2, dtype=np.uint8)], ["acc"])
    assert found["acc"] == 0.5
    assert found["labels"] == ["sky", "sea"]
    assert task.knows("meaniou")
    assert not task.knows("f1")


@pytest.mark.parametrize("target", [None, 3, np.zeros((2, 2, 1), np.uint8)])
def test_a_sample_without_a_mask_is_refused(target: object) -> None:
    task = Segmentation()
    rows = task.activate(outputs(np.zeros((1, 2, 2, 2), np.float32)))
    with pytest.raises(InputError, match="0 has no mask"):
        tallied(task, rows, [target], ["acc"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="differ in size"):
        tallied(task, rows, [np.zeros((3, 2), np.uint8)], ["acc"])


def test_it_bears_the_name_of_its_table_line() -> None:
    assert TASKS.load("segmentation")().name == "segmentation"
