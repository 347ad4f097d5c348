"""Mistakes of clients: each is refused at once, by the name of what is wrong; nothing breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ddstream.deepdetect import DeepDetect, DeepDetectError
from ddstream.errors import ParameterError
from tests.backends.tables import MLP, TableService, points

IMAGE: Mapping[str, Any] = {"connector": "image", "width": 32, "height": 32}
CSV: Mapping[str, Any] = {"connector": "csv", "label": "side", "ignore": ["name"]}
SERIES: Mapping[str, Any] = {"connector": "csvts", "label": ["y"], "timesteps": 4}
WORDS: Mapping[str, Any] = {"connector": "txt", "ordered_words": True}


@pytest.fixture(scope="module")
def dd() -> Iterator[DeepDetect]:
    with DeepDetect() as dd:
        yield dd


def refused(
    dd: DeepDetect, folder: Path, connector: Mapping[str, Any], mllib: Mapping[str, Any]
) -> DeepDetectError:
    """The error of a creation."""
    with pytest.raises(DeepDetectError) as found:
        dd.create_service(
            "mistaken",
            model={"repository": folder},
            mllib="torch",
            input_parameters=connector,
            mllib_parameters=mllib,
        )
    assert not dd.info()["services"]
    return found.value


@pytest.mark.parametrize(
    ("template", "connector"),
    [
        ("resnet18", CSV),
        ("resnet18", {"connector": "svm"}),
        ("resnet18", SERIES),
        ("yolox", WORDS),
        ("vit", {"connector": "txt"}),
        ("bert", IMAGE),
        ("gpt2", CSV),
        ("nbeats", IMAGE),
        ("recurrent", CSV),
    ],
)
def test_a_template_reads_the_samples_of_its_connector_only(
    dd: DeepDetect, tmp_path: Path, template: str, connector: Mapping[str, Any]
) -> None:
    error = refused(dd, tmp_path, connector, {"template": template, "nclasses": 2})
    assert error.dd_code == 1006
    assert f"template {template} reads samples of the connector" in error.message
    assert error.message.endswith(f"not of {connector['connector']}")


@pytest.mark.parametrize("asked", ["bbox", "segmentation", "ctc"])
def test_a_classifier_learns_no_boxes_masks_or_letters(
    dd: DeepDetect, tmp_path: Path, asked: str
) -> None:
    error = refused(dd, tmp_path, {**IMAGE, asked: True}, {"template": "resnet18", "nclasses": 2})
    assert error.dd_code == 1006
    assert f"parameters.input.{asked} is nothing that resnet18 can do" in error.message


@pytest.mark.parametrize(
    ("mllib", "code", "told"),
    [
        ({"template": "resnet18", "nclasses": 10**12}, 1006, "resnet18 of these sizes cannot be"),
        (
            {"template": "mlp", "nclasses": 2, "template_params": {"layers": [10**9]}},
            1006,
            "mlp of these sizes cannot be: its weights have",
        ),
        ({"template": "resnet18", "nclasses": 2**62}, 1006, "resnet18 of these sizes cannot be"),
        ({"template": "resnet18", "nclasses": 10**30}, None, "mllib.nclasses is an integer of"),
        ({"template": "resnet18", "nclasses": 2, "seed": -1}, 1006, "parameters.mllib.seed"),
        ({"template": "mlp", "nclasses": 2, "junk": {1, 2}}, None, "mllib.junk is a set"),
    ],
)
def test_sizes_that_no_model_has_are_refused(
    dd: DeepDetect, tmp_path: Path, mllib: Mapping[str, Any], code: int | None, told: str
) -> None:
    error = refused(dd, tmp_path, IMAGE, mllib)
    assert (error.status_code, error.dd_code) == (400, code)
    assert told in error.message


@pytest.mark.parametrize("name", ["scale", "mean", "std", "scale_min"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(dd: DeepDetect, tmp_path: Path, name: str, value: float) -> None:
    error = refused(dd, tmp_path, {**IMAGE, name: value}, {"template": "mlp", "nclasses": 2})
    assert error.dd_code == 1005
    assert f"parameters.input.{name}" in error.message
    assert "finite" in error.message


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ({"class_weights": [0, 0]}, "class_weights"),
        ({"class_weights": [-1, 1]}, "class_weights"),
        ({"class_weights": [1]}, "class_weights has 1 values"),
        (
            {
                "template_params": {"layers": [4], "batch_norm": True},
                "solver": {"iterations": 1},
                "net": {"batch_size": 1},
            },
            "net.batch_size",
        ),
    ],
)
def test_options_that_no_training_survives_are_refused(
    tmp_path: Path, training: Mapping[str, Any], told: str
) -> None:
    service = TableService(tmp_path, {**MLP, "nclasses": 2, **training}, CSV)
    path = points(tmp_path, 9)
    with pytest.raises(ParameterError, match=told):
        service.train(path, path)


def test_a_minimum_is_not_above_its_maximum(dd: DeepDetect, tmp_path: Path) -> None:
    connector = {**CSV, "min_vals": [0, 3], "max_vals": [1, 2]}
    error = refused(dd, tmp_path, connector, {**MLP, "nclasses": 2})
    assert error.dd_code == 1005
    assert "min_vals is above" in error.message


@pytest.mark.parametrize(
    ("mllib", "connector", "told"),
    [
        ({"nclasses": 2, "ntargets": 1}, CSV, "parameters.mllib.ntargets has no effect"),
        ({"nclasses": 2, "dropout": 0.5}, CSV, "parameters.mllib.dropout was ignored"),
        ({"nclasses": 2, "layers": ["9"]}, CSV, "parameters.mllib.layers was ignored"),
        ({"nclasses": 2, "timesteps": 9}, CSV, "parameters.mllib.timesteps was ignored"),
        ({"ntargets": 1, "multi_label": True}, CSV, "parameters.mllib.multi_label was ignored"),
        ({"nclasses": 2}, {**CSV, "autoencoder": True}, "nclasses and ntargets have no effect"),
    ],
)
def test_options_of_other_models_are_told(
    tmp_path: Path, mllib: Mapping[str, Any], connector: Mapping[str, Any], told: str
) -> None:
    service = TableService(tmp_path, {**MLP, **mllib}, connector)
    (warning,) = service.backend().warnings
    assert warning.startswith(told)
