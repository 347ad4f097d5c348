"""Mistakes with images: options, lists and weights that cannot be are refused by name or told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.api.envelope import Answer
from ddstream.api.image import ImageInput
from ddstream.api.parameters import envelope
from ddstream.api.predict import PredictRequest
from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.network.architecture import ARCHITECTURE, Architecture
from ddstream.backends.torch.purpose import idle, purpose
from ddstream.connectors.images.alignment import ALIGNMENT
from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Datum, Dimensions
from ddstream.deepdetect import DeepDetect, DeepDetectError
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.templates import TEMPLATES
from tests.connectors.images.pictures import connector, encoded, photo
from tests.connectors.images.sets import kept, listed

IMAGE: Mapping[str, Any] = {"connector": "image", "width": 32, "height": 32}
PICTURE = np.zeros((32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def dd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeepDetect]:
    with DeepDetect() as dd:
        dd.create_service(
            "pictures",
            model={"repository": tmp_path_factory.mktemp("pictures")},
            mllib="torch",
            input_parameters=IMAGE,
            mllib_parameters={"template": "resnet18", "nclasses": 2},
        )
        yield dd


def answered(dd: DeepDetect, **parameters: Mapping[str, Any]) -> Answer:
    """The answer of a prediction with these parts of `parameters`."""
    raw = {"service": "pictures", "data": [PICTURE], "parameters": parameters}
    request = envelope(PredictRequest, raw)
    return dd.ask(lambda api: api.predict(request))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"connector": "csv"}, "parameters.input.connector: input should be 'image'"),
        ({"std": -1}, "std must be above 0"),
    ],
)
def test_an_impossible_option_of_a_call_is_refused(
    dd: DeepDetect, asked: Mapping[str, Any], told: str
) -> None:
    with pytest.raises(DeepDetectError) as found:
        dd.service("pictures").predict([PICTURE], input_parameters=asked)
    assert (found.value.status_code, found.value.dd_code) == (400, 1005)
    assert told in found.value.message
    assert answered(dd).body["predictions"]


@pytest.mark.parametrize("name", ["bbox", "segmentation", "ctc"])
def test_a_call_is_told_that_its_service_has_no_such_labels(dd: DeepDetect, name: str) -> None:
    told = f"parameters.input.{name} was ignored: the service does classification"
    assert answered(dd, input={name: True}).head["warnings"] == [told]
    assert "warnings" not in answered(dd, input={name: False, "multi_label": True}).head


@pytest.mark.parametrize(
    ("name", "value"), [("pretrained", "a.pt"), ("from_repository", "a"), ("freeze_traced", True)]
)
def test_a_call_cannot_change_what_the_model_was_made_of(
    dd: DeepDetect, name: str, value: Any
) -> None:
    with pytest.raises(DeepDetectError) as found:
        dd.service("pictures").predict([PICTURE], mllib_parameters={name: value})
    assert found.value.dd_code == 1006
    assert f"parameters.mllib.{name} cannot be changed after creation" in found.value.message


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_is_no_image(dd: DeepDetect, text: str) -> None:
    with pytest.raises(DeepDetectError) as found:
        dd.service("pictures").predict([PICTURE, text])
    assert found.value.dd_code == 1005
    assert found.value.message.endswith("does not exist: an empty text")


def test_samples_that_a_store_lacks_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(40, 50)))
    (tmp_path / "b.png").write_text("no image")
    listing = listed(tmp_path / "list.txt", "a.png 0", "b.png 1")
    whole = listed(tmp_path / "whole.txt", "a.png 0")
    made = kept(tmp_path / "kept", listing, whole, mllib={"nclasses": 2}, db=True)
    (told,) = made.warnings
    assert told.startswith("list.txt: 1 samples were left out, the first: Could not read image")
    assert "b.png" in told


def test_boxes_in_shares_of_their_image_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(40, 50)))
    for name, row in (("shares", "1 0.1 0.1 0.5 0.9"), ("pixels", "1 0.1 0.1 20 20")):
        (tmp_path / f"{name}.txt").write_text(row)
        listed(tmp_path / f"{name}.list", f"a.png {name}.txt", f"a.png {name}.txt")
    shares, pixels = tmp_path / "shares.list", tmp_path / "pixels.list"
    detecting = connector(bbox=True)
    told = f"{shares}: all boxes lie within one pixel: they are in pixels, not shares of the image"
    assert detecting.datasets([shares, pixels], {"nclasses": 1}).warnings == [told]
    assert detecting.datasets([pixels, pixels], {"nclasses": 1}).warnings == []


def test_a_path_with_spaces_ends_at_a_tab_before_its_text(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(encoded(photo(40, 50)))
    listing = listed(tmp_path / "list.txt", "a b.png\tc d")
    data = connector(ctc=True).datasets([listing, listing], {})
    assert data.train.read(0, None).target.tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert data.classes == ["0", "99", "32", "100"]


@pytest.mark.parametrize("template", ["yolox", "detr", "segformer", "deeplabv3", "crnn"])
def test_targets_are_of_a_regression(dd: DeepDetect, tmp_path: Path, template: str) -> None:
    with pytest.raises(DeepDetectError) as found:
        dd.create_service(
            "mistaken",
            model={"repository": tmp_path},
            mllib="torch",
            input_parameters=IMAGE,
            mllib_parameters={"template": template, "ntargets": 1},
        )
    assert found.value.dd_code == 1006
    told = f"parameters.mllib.ntargets is nothing that {template} can do"
    assert told in found.value.message


def training(**over: Any) -> TorchTraining:
    """The typed `parameters.mllib` of a training."""
    raw = {"solver": {"iterations": 1}, **over}
    return TorchTraining.parse(raw, "parameters.mllib", ParameterError)


@pytest.mark.parametrize(
    ("template", "over", "told"),
    [
        ("yolox", {"class_weights": [1, 2]}, "class_weights was ignored: detection has none"),
        ("detr", {"multi_label": True}, "multi_label was ignored: detection has none"),
        ("crnn", {"class_weights": [1, 2]}, "class_weights was ignored: ctc has none"),
        ("segformer", {"multi_label": True}, "multi_label was ignored: segmentation has none"),
        ("detr", {"net": {"reg_weight": 2}}, "net.reg_weight was ignored: it is of yolox"),
        ("resnet18", {"net": {"reg_weight": 2}}, "net.reg_weight was ignored: it is of yolox"),
        ("yolox", {"net": {"reg_weight": 2}}, ""),
        ("resnet18", {"class_weights": [1, 2], "multi_label": True}, ""),
    ],
)
def test_options_of_other_trainings_are_told(
    template: str, over: Mapping[str, Any], told: str
) -> None:
    parameters = training(template=template, nclasses=2, **over)
    expected = [f"parameters.mllib.{told}"] if told else []
    assert idle(parameters, purpose(parameters, ImageInput())) == expected


def test_objects_are_called_so() -> None:
    with pytest.raises(ParameterError, match=r"mllib\.geometry: input should be an object$"):
        training(geometry=True)


@pytest.mark.parametrize(
    "over",
    [
        {"dataloader_threads": 2**40},
        {"test_crop_samples": 2**40},
        {"solver": {"iterations": 1, "iter_size": 2**40}},
    ],
)
def test_counts_that_no_machine_has_room_for_are_refused(over: Mapping[str, Any]) -> None:
    with pytest.raises(ParameterError, match="input should be less than or equal to"):
        training(**over)


@pytest.mark.parametrize(
    ("template", "params"),
    [
        ("detr", {"encoder_layers": 2**40}),
        ("detr", {"decoder_layers": 2**40}),
        ("crnn", {"num_layers": 2**40}),
        ("segformer", {"depths": [1, 1, 1, 2**40]}),
    ],
)
def test_stacks_that_would_be_built_for_ever_are_refused(
    template: str, params: Mapping[str, Any]
) -> None:
    with pytest.raises(ParameterError, match=f"template_params.{next(iter(params))}"):
        TEMPLATES.load(template)(Dimensions(outputs=2, vocabulary=3), params)


def test_classes_that_the_template_counts_bound_those_of_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(40, 50)))
    (tmp_path / "a.txt").write_text("3 1 1 9 9")
    listing = listed(tmp_path / "list.txt", "a.png a.txt")
    mllib = {"template": "yolox", "template_params": {"nclasses": 2}}
    with pytest.raises(InputError, match=r"invalid class: 3 in file a.txt \(nclasses=2\)"):
        connector(bbox=True).datasets([listing, listing], mllib)


def test_a_root_folder_that_is_none_is_refused_where_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(40, 50)))
    listing = listed(tmp_path / "list.txt", "a.png 0")
    for root in (tmp_path / "nowhere", listing):
        rooted = connector(root_folder=str(root))
        with pytest.raises(InputError, match=r"parameters\.input\.root_folder .* is no folder"):
            rooted.datasets([listing, listing], {"nclasses": 1})
        with pytest.raises(InputError, match=r"parameters\.input\.root_folder .* is no folder"):
            list(rooted.labelled(Datum("0", listing), {"nclasses": 1}))


def test_folders_without_files_are_told(tmp_path: Path) -> None:
    for name in ("empty", "full"):
        (tmp_path / "classes" / name).mkdir(parents=True)
    full = tmp_path / "classes" / "full"
    (full / "a.png").write_bytes(encoded(photo(40, 50)))
    (told,) = connector().datasets([full.parent, full.parent], {}).warnings
    assert told == f"{full.parent}: class empty has no files"
    said = f"No data found in training dataset: {full} has none; {full}: 1 files are in no class"
    with pytest.raises(ParameterError, match=said):
        connector().datasets([full, full], {})


def test_a_split_that_leaves_nothing_is_named(tmp_path: Path) -> None:
    listing = listed(tmp_path / "list.txt", "a.png 0", "b.png 0")
    with pytest.raises(ParameterError, match=r"test_split 0\.9 leaves nothing of 2 samples"):
        connector(test_split=0.9).datasets([listing], {})


@pytest.mark.parametrize(
    "content",
    [
        {"template_params": 5, "dimensions": {}},
        {"template_params": {}, "dimensions": {"channels": "x"}},
        {"template_params": {}, "dimensions": {"height": -1}},
        {"template_params": {}, "dimensions": 3},
        {},
    ],
)
def test_a_file_of_an_architecture_that_somebody_broke_is_none(
    tmp_path: Path, content: Mapping[str, Any]
) -> None:
    (tmp_path / ARCHITECTURE).write_text(json.dumps({"template": "crnn", **content}))
    assert Architecture.read(Repository(tmp_path), "crnn") is None


def test_a_file_of_an_alignment_that_somebody_broke_says_no_width(tmp_path: Path) -> None:
    (tmp_path / ALIGNMENT).write_text('{"align": true, "height": 32}')
    raw = {"align": True, "width": -1, "height": 32}
    assert ImageConnector(raw, Repository(tmp_path)).parameters.width == -1
