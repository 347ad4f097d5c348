"""Predictions that tests show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddstream import DeepDetect
from ddstream.api.job import History, JobRecord, blocking_answer, job_answer, report_json
from ddstream.api.parameters import envelope
from ddstream.api.predict import OutputParameters
from ddstream.api.showing import Showing
from ddstream.api.torch import TorchParameters
from ddstream.api.train import JobQuery
from ddstream.backends.torch.objectives import OBJECTIVES
from ddstream.backends.torch.training.evaluation import Evaluation
from ddstream.backends.torch.training.loader import Reading
from ddstream.backends.torch.training.shown import Shown
from ddstream.data import Progress, Sample
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from ddstream.tasks.detection import Detection
from examples.scenes import Scenes, write_scenes
from tests.backends.digit_sets import digits
from tests.backends.trainings import RAW, trainer_of

SIDE = 64
SOLVER = {"iterations": 4, "test_interval": 2}


def told_by(repository: Repository, sets: int, **wish: Any) -> list[Progress]:
    """The words of the tests of a training that shows predictions."""
    showing = Showing.model_validate(wish)
    raw = {**RAW, "solver": SOLVER}
    told = trainer_of(repository).fit(digits(sets=sets), raw, ["acc"], showing)
    return [each for each in told if each.measures]


@pytest.mark.usefixtures("traced")
def test_the_samples_that_are_named_are_shown_after_each_test(repository: Repository) -> None:
    found = told_by(repository, 2, indices={"test1": [7, 3]}, confidence_threshold=0.05, best=-1)
    assert [set(each.predictions) for each in found] == [{"test1"}, {"test1"}]
    last = found[-1].predictions["test1"]
    assert (last["test_id"], last["test_name"], last["iteration"]) == (1, "test1", 4.0)
    first, second = last["samples"]
    assert (first["index"], second["index"]) == (7, 3)
    assert first["imgsize"] == {"width": 8, "height": 8}
    probabilities = [each["prob"] for each in first["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0.05 < min(probabilities) <= sum(probabilities) <= 1.0001
    assert first["uri"] != second["uri"]


@pytest.mark.promise("train.output.best")
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("best", "classes"), [({}, 1), ({"best": 3}, 3), ({"best": -1}, 10)])
def test_as_many_classes_are_shown_as_are_asked_for(
    repository: Repository, best: dict[str, int], classes: int
) -> None:
    raw = {**best, "test_predictions": {"indices": {"test0": [1]}}}
    output = OutputParameters.parse(raw, "parameters.output", ParameterError)
    assert output.test_predictions is not None
    found = told_by(repository, 1, **output.test_predictions.typed())
    (sample,) = found[-1].predictions["test0"]["samples"]
    assert len(sample["classes"]) == classes


@pytest.mark.usefixtures("traced")
def test_other_samples_are_drawn_for_each_test_and_the_same_by_the_same_seed(
    repository: Repository,
) -> None:
    found = told_by(repository, 2, sample_count=5, sample_seed=3)
    drawn = [
        [[each["index"] for each in shown["samples"]] for shown in told.predictions.values()]
        for told in found
    ]
    for test_id, iteration in ((0, 2), (1, 2), (0, 4), (1, 4)):
        generator = np.random.default_rng(3 + 1000003 * test_id + 9176 * iteration)
        expected = sorted(generator.permutation(20)[:5].tolist())
        assert drawn[iteration // 2 - 1][test_id] == expected


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("indices", "text"),
    [({"test2": [0]}, "test2 is none of test0"), ({"test0": [20]}, "test0 has 20 samples, no 20")],
)
def test_samples_that_are_not_there_are_refused(
    repository: Repository, indices: dict[str, Any], text: str
) -> None:
    with pytest.raises(ParameterError, match=text):
        told_by(repository, 1, indices=indices)


def test_a_query_gets_the_predictions_when_it_asks_for_them() -> None:
    record = JobRecord("a", 1, report={"test_predictions": {"test0": {}}})
    for asked, told in ((True, True), ({"any": 1}, True), (False, False), (None, False)):
        query = envelope(
            JobQuery, {"service": "a", "parameters": {"output": {"test_predictions": asked}}}
        )
        answer = job_answer(record, History(), None, predictions=query.wants_predictions)
        assert ("test_predictions" in answer.body) is told
    assert "test_predictions" in blocking_answer(record, History(), None).body
    assert "test_predictions" not in report_json(record, History())["body"]


@pytest.fixture(scope="module")
def dd() -> Iterator[DeepDetect]:
    with DeepDetect() as dd:
        yield dd


def shown(
    dd: DeepDetect, repository: Path, mllib: dict[str, Any], data: tuple[Path, Path], **wish: Any
) -> dict[str, Any]:
    """The one sample in the report of a training that shows predictions."""
    with dd.create_service(
        repository.name,
        model={"repository": str(repository), "create_repository": True},
        mllib="torch",
        input_parameters={"connector": "image", "width": SIDE, "height": SIDE, **wish.pop("flags")},
        mllib_parameters=mllib,
    ) as service:
        body = service.train(
            [str(each) for each in data],
            mllib_parameters={"solver": {"iterations": 1}, "net": {"batch_size": 3}},
            output_parameters={"measure": ["acc", "map"], "test_predictions": wish},
        )
    (sample,) = body["test_predictions"]["test0"]["samples"]
    found: dict[str, Any] = sample
    return found


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_scenes(tmp_path_factory.mktemp("scenes"), Scenes(train=6, test=2, side=96))


@dataclass(frozen=True)
class Squares:
    """Two images of 96 x 96 that the net sees at 64 x 64, with a box each."""

    name: str = "squares"

    def __len__(self) -> int:
        return 2

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        target = {"boxes": np.array([[0, 0, 9, 9]], np.float32), "labels": np.array([1])}
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        return Sample(f"{index}.png", {"image": image}, target, meta={"size": (96, 96)})


def test_boxes_are_shown_in_pixels_of_the_net() -> None:
    boxes = torch.tensor([[[8.0, 8, 16, 16], [4, 4, 32, 48], [0, 0, 64, 64]]])
    evaluation = Evaluation(
        sets=[Squares()],
        reading=Reading(1),
        task=Detection(),
        measures=("map",),
        objective=OBJECTIVES.load("detection")(TorchParameters()),
        results=lambda _: {
            "boxes": boxes,
            "labels": torch.tensor([[1, 2, 3]]),
            "scores": torch.tensor([[0.5, 0.9, 0.1]]),
        },
    )
    found = Shown(Showing(indices={"test0": (1,)}, best_bbox=2), evaluation).after(7)["test0"]
    (sample,) = found["samples"]
    assert (sample["index"], sample["uri"]) == (1, "1.png")
    assert sample["imgsize"] == {"width": SIDE, "height": SIDE}
    assert [each["cat"] for each in sample["classes"]] == ["2", "1"]
    best = {"xmin": 4.0, "ymin": 4.0, "xmax": 32.0, "ymax": 48.0}
    assert sample["classes"][0]["bbox"] == best


def test_masks_are_shown_in_pixels_of_the_net(dd: DeepDetect, tmp_path: Path, scenes: Any) -> None:
    small = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2]}
    params = small | {"decoder_hidden_size": 16}
    mllib = {"template": "segformer", "nclasses": 4, "template_params": params}
    wish = {"sample_count": 1, "flags": {"segmentation": True}}
    sample = shown(dd, tmp_path / "masks", {**mllib, "segmentation": True}, scenes.masks, **wish)
    assert sample["imgsize"] == {"width": SIDE, "height": SIDE}
    assert len(sample["vals"]) == SIDE * SIDE
    assert set(sample["vals"]) <= {0.0, 1.0, 2.0, 3.0}
