"""Options of a workflow: where they come from, what goes over what, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ddstream.commands.workflow.flags import spread
from ddstream.commands.workflow.layers import ALIASES, assignments, effective, nested, plain
from ddstream.commands.workflow.options import TrainOptions
from ddstream.commands.workflow.profiles import profile
from ddstream.commands.workflow.said import Said, predicting, training, written
from ddstream.templates import TEMPLATES


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
    return folder


def said(data: Path, name: str = "resnet18", **flags: Any) -> Said:
    base = {"train_data": data, "test_data": [data], "repository": data.parent / "model"}
    return Said(name, None, {**base, **flags}, ())


@pytest.mark.promise("python.cli")
def test_a_later_source_goes_over_an_earlier_one(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "base_lr: 0.5\niterations: 7\nbatch_size: 3\n"
        "augmentation: {geometry: {prob: 0.7}}\ninput_parameters: {seed: 1}\n"
    )
    flags = {**said(data).flags, "iterations": 8, "batch_size": 4}
    words = Said("yolox", file, flags, ["batch_size=5", "input_parameters.mean=[1, 2, 3]"])
    _, options = training(words)
    assert (options.base_lr, options.iterations, options.batch_size) == (0.5, 8, 5)
    # Mappings merge with what the profile has, lists replace.
    assert options.augmentation["geometry"] == {"prob": 0.7}
    assert options.augmentation["cutout"] == 0.1
    inputs = {"connector": "image", "rgb": True, "bbox": True, "shuffle": True, "seed": 1}
    assert options.input_parameters == {**inputs, "mean": [1, 2, 3]}
    assert (options.iter_size, options.width, options.nclasses) == (2, 640, 2)


def test_an_option_and_the_parameter_that_it_stands_for_are_one(data: Path) -> None:
    words = Said("yolox", None, {**said(data).flags, "iterations": 8}, ["mllib.solver.base_lr=3"])
    _, options = training(words)
    assert options.base_lr == 3
    assert "base_lr" not in options.mllib["solver"]
    _, options = training(
        Said("yolox", None, said(data, base_lr=0.1).flags, ["input_parameters.width=64"])
    )
    assert (options.width, options.base_lr) == (64, 0.1)


@given(
    st.dictionaries(st.sampled_from(sorted(ALIASES)), st.integers(1, 9), min_size=1),
    st.dictionaries(st.sampled_from(sorted(ALIASES.values())), st.integers(1, 9)),
)
def test_of_two_layers_the_later_holds_whichever_name_it_uses(
    long: dict[str, int], short: dict[str, int]
) -> None:
    first = effective(nested(name, value) for name, value in long.items())
    second = effective(nested(name, value) for name, value in short.items())
    options = effective([first, second])
    for name, alias in ALIASES.items():
        if wanted := short.get(alias, long.get(name)):
            assert found(options, alias) == wanted
            assert found(options, name) is None


def found(options: Any, name: str) -> Any:
    for step in name.split("."):
        options = options.get(step) if isinstance(options, dict) else None
    return options


def test_plain_layers_keep_what_is_no_alias() -> None:
    layer = {"mllib": {"solver": {"iterations": 3, "solver_type": "SGD"}, "resume": True}}
    assert plain(layer) == {
        "iterations": 3,
        "mllib": {"solver": {"solver_type": "SGD"}, "resume": True},
    }


def test_assignments_nest_and_hold_yaml() -> None:
    assert assignments(["a.b=1", "a.c=[x, 2]", "d=", "e=k=v"]) == {
        "a": {"b": 1, "c": ["x", 2]},
        "d": None,
        "e": "k=v",
    }
    with pytest.raises(ValueError, match="key=value"):
        assignments(["nothing"])
    with pytest.raises(ValueError, match="no YAML"):
        assignments(["a=[1"])


def test_flags_of_several_values_stand_before_what_follows() -> None:
    assert spread(["train", "x", "--test-data", "a", "b", "--gpuid", "0,1", "2", "c.png"]) == [
        *("train", "x", "--test-data", "a", "--test-data", "b"),
        *("--gpuid", "0,1", "--gpuid", "2", "c.png"),
    ]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"train_data": None}, "train-data is required"),
        ({"test_data": ()}, "test-data is required"),
        ({"repository": None}, "repository is required"),
        ({"iterations": 0}, "iterations must be positive"),
        ({"base_lr": -1}, "base_lr must be positive"),
        ({"gpuid": ["0"], "gpu": False}, "--gpuid requires GPU execution; remove --no-gpu"),
        ({"gpuid": ["-1,0"]}, "gpuid -1 cannot be combined with other ids"),
        (
            {"repository_override": True, "resume": "best"},
            "--repository-override cannot be used with --resume",
        ),
        ({"colour": "red"}, "colour is no option"),
        ({"resume": "first"}, "resume is wrong: input should be 'latest' or 'best'"),
    ],
)
def test_wrong_options_are_refused_in_words(data: Path, flags: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as refused:
        training(said(data, **flags))
    assert str(refused.value) == text


def test_files_that_are_missing_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        training(said(data, weights=tmp_path / "nothing.pt"))
    with pytest.raises(FileNotFoundError, match="data set does not exist"):
        training(said(data, test_data=[tmp_path / "nothing"]))
    with pytest.raises(FileNotFoundError, match="repository does not exist"):
        predicting(Said("yolox", None, {"repository": tmp_path / "nothing"}, ()), ["a.png"])


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({}, "repository or weights is required"),
        ({"confidence_threshold": 1.5}, "confidence_threshold is wrong"),
        ({"repository": ".", "visualize": True}, "--visualize needs --output"),
    ],
)
def test_wrong_options_of_predictions_are_refused(flags: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        predicting(Said("yolox", None, flags, ()), ["a.png"])
    with pytest.raises(ValueError, match="at least one image is required"):
        predicting(Said("yolox", None, {"repository": "."}, ()), [])


def test_what_is_there_is_listed_for_an_unknown_template(data: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no template yolo;.*resnet18.*yolox"):
        training(said(data, "yolo"))
    with pytest.raises(ValueError, match="vitpose is not available on Torch"):
        training(said(data, "vitpose"))


def test_classes_are_counted_where_nobody_says_how_many(data: Path) -> None:
    assert training(said(data))[1].nclasses == 2
    assert training(said(data, nclasses=5))[1].nclasses == 5
    assert training(said(data, ntargets=1))[1].nclasses is None


def test_measures_follow_what_is_learned(data: Path) -> None:
    def measures(name: str, **flags: Any) -> Any:
        return training(said(data, name, **flags))[1].output_parameters["measure"]

    assert measures("yolox") == ["map-05", "map-50", "map-90"]
    assert measures("segformer") == ["meaniou", "acc"]
    assert measures("resnet18", ntargets=2) == ["eucll"]
    assert measures("resnet18", output_parameters={"measure": ["auc"]}) == ["auc"]


def test_a_smaller_image_turns_the_crop_of_the_profile_off(data: Path) -> None:
    assert training(said(data, "segformer"))[1].augmentation["crop_size"] == 224
    assert training(said(data, "segformer", width=64))[1].augmentation["crop_size"] == 0


def test_rows_of_a_sparse_file_have_their_connector(tmp_path: Path) -> None:
    rows = tmp_path / "rows.svm"
    rows.write_text("1 3:0.5\n")
    _, options = training(said(rows, "mlp"))
    assert options.input_parameters["connector"] == "svm"


def test_effective_options_can_be_read_back(data: Path, tmp_path: Path) -> None:
    profiled, options = training(said(data, "segformer", resume="latest", timeout=3))
    file = tmp_path / "config.yaml"
    file.write_bytes(written(options))
    assert "resume" not in yaml.safe_load(file.read_text())
    again = TrainOptions.of(effective([yaml.safe_load(file.read_text())]))
    assert again == options.model_copy(update={"resume": None, "timeout": None})
    assert profiled.name == "segformer"


def test_predictions_know_what_a_training_said_of_its_model(data: Path) -> None:
    _, options = training(said(data, "segformer", width=96, nclasses=7))
    options.folder.mkdir()
    (options.folder / "config.yaml").write_bytes(written(options))
    words = Said("segformer", None, {"repository": options.folder}, ["height=32"])
    _, wanted = predicting(words, ["a.png"])
    assert (wanted.width, wanted.height, wanted.nclasses) == (96, 32, 7)
    assert wanted.input_parameters["segmentation"] is True


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_has_a_profile_that_trains_and_predicts(data: Path, name: str) -> None:
    _, options = training(said(data, name))
    assert options.input_parameters["connector"]
    assert profile(name, TEMPLATES).predicting()["batch_size"] == 1
