"""The check of data sets: what it counts, and which faults it finds before any training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ddstream.commands.workflow.checking import checked
from ddstream.commands.workflow.options import TrainOptions
from ddstream.commands.workflow.profiles import profile
from ddstream.templates import TEMPLATES
from examples.scenes import Scenes, write_scenes


def check(name: str, *data: Path, **options: Any) -> list[Mapping[str, Any]]:
    given = {"train_data": data[0], "test_data": data[1:] or data, "repository": "model"}
    wanted = TrainOptions.of({**given, **options})
    found = checked(profile(name, TEMPLATES, data), wanted)
    return [findings.payload() for findings in found]


def image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 6), value, np.uint8))
    return path


@pytest.mark.promise("python.cli")
def test_good_lists_of_boxes_and_masks_are_counted(tmp_path: Path) -> None:
    files = write_scenes(tmp_path, Scenes(train=6, test=3, side=48))
    train, test = check("yolox", *files.boxes, nclasses=3)
    assert (train["dataset"], train["status"], train["samples"]) == ("train", "ok", 6)
    assert (test["dataset"], test["samples"]) == ("test0", 3)
    assert train["boxes"] == sum(train["classes"].values()) >= 6
    assert train["empty"] == 0
    masked, _ = check("segformer", *files.masks, nclasses=4)
    assert masked["status"] == "ok"
    assert masked["classes"]["0"] == 6
    assert set(masked["classes"]) == {"0", *train["classes"]}


def test_every_fault_of_boxes_is_counted_and_the_first_are_told(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "good.txt").write_text("1 0 0 2 2\n2 1 1 3 3\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bad.txt").write_text("0 0 0 2 2\n3 0 0 2 2\n1 0 0 2\n1 2 0 2 2\n1 a 0 2 2\n")
    (tmp_path / "text.png").write_text("no image")
    lines = [
        "a.png good.txt",
        "a.png empty.txt",
        "a.png bad.txt",
        "missing.png good.txt",
        "a.png missing.txt",
        "text.png good.txt",
        "a.png",
    ]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(lines))
    found, _ = check("yolox", listed, nclasses=2)
    assert (found["status"], found["samples"], found["errors"]) == ("failed", 7, 9)
    assert (found["boxes"], found["empty"], found["classes"]) == (2, 1, {"1": 1, "2": 1})
    assert found["first_errors"] == [
        f"line 1 of {tmp_path}/bad.txt: class 0 is not from 1 to 2",
        f"line 2 of {tmp_path}/bad.txt: class 3 is not from 1 to 2",
        f"line 3 of {tmp_path}/bad.txt: `class xmin ymin xmax ymax` is expected",
        f"line 4 of {tmp_path}/bad.txt: a box has xmin < xmax and ymin < ymax",
        f"line 5 of {tmp_path}/bad.txt: numbers are expected, not '1 a 0 2 2'",
    ]


def test_masks_are_looked_into_unless_they_are_believed(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    image(tmp_path / "mask.png", value=7)
    listed = tmp_path / "list.txt"
    listed.write_text("a.png mask.png\n")
    found, _ = check("segformer", listed, nclasses=4)
    assert found["first_errors"] == [f"{tmp_path}/mask.png: class 7 is not from 0 to 3"]
    believed, _ = check("segformer", listed, nclasses=4, skip_mask_validation=True)
    assert (believed["status"], believed["samples"]) == ("ok", 1)


def test_class_folders_are_counted_and_compared(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "train/cat/b.png", "train/dog/a.png", "test/cat/a.png"):
        image(tmp_path / name)
    image(tmp_path / "test/bird/a.png")
    (tmp_path / "train/loose.txt").write_text("")
    train, test = check("resnet18", tmp_path / "train", tmp_path / "test")
    assert train["classes"] == {"cat": 2, "dog": 1}
    assert (train["loose_files"], train["errors"]) == (1, 0)
    assert test["first_errors"] == [
        f"class bird of {tmp_path}/test is not in the training set",
    ]


def test_lists_of_classes_and_of_numbers_are_checked(tmp_path: Path) -> None:
    image(tmp_path / "a b.png")
    listed = tmp_path / "list.txt"
    listed.write_text("a b.png 1\na b.png 2\na b.png 1 1\na b.png\n")
    found, _ = check("resnet18", listed, nclasses=2)
    assert (found["samples"], found["errors"]) == (4, 3)
    listed.write_text("a b.png 1.5 2\n")
    found, _ = check("resnet18", listed, ntargets=2)
    assert found["errors"] == 0


@pytest.mark.parametrize("name", ["yolox", "segformer", "crnn"])
def test_a_folder_is_no_list(tmp_path: Path, name: str) -> None:
    found, _ = check(name, tmp_path)
    assert found["first_errors"] == [f"{tmp_path} is a folder where a list file is expected"]


def test_letters_of_lines_are_counted(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    listed = tmp_path / "list.txt"
    listed.write_text("a.png two words\na.png\n")
    found, _ = check("crnn", listed)
    assert (found["samples"], found["letters"], found["errors"]) == (2, 9, 1)


def test_rows_of_tables_have_as_many_cells_as_the_first(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text('a,b,c\n1,2,3\n"x,y",2,3\n1,2\n')
    found, _ = check("mlp", table)
    assert (found["samples"], found["columns"]) == (3, 3)
    assert found["first_errors"] == [
        f"line 4 of {table}: 2 cells where the first line has 3",
    ]


def test_series_are_the_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("a,b\n1,2\n3,4\n")
    found, _ = check("nbeats", tmp_path)
    assert (found["files"], found["samples"], found["errors"]) == (2, 4, 0)
    found, _ = check("nbeats", tmp_path / "one.csv")
    assert found["first_errors"] == [
        f"{tmp_path}/one.csv is a file where a folder of series is expected",
    ]


def test_sparse_rows_are_labels_and_pairs(tmp_path: Path) -> None:
    rows = tmp_path / "rows.svm"
    rows.write_text("1 3:0.5 7:1 # note\n0 2:1\n1 3\n1 x:1\n")
    found, _ = check("mlp", rows, input_parameters={"connector": "svm"})
    assert (found["samples"], found["errors"], found["classes"]) == (4, 2, {"0": 1, "1": 1})


def test_texts_are_counted_by_their_folders(tmp_path: Path) -> None:
    for name in ("spam/a", "ham/a", "ham/b"):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("words")
    found, _ = check("bert", tmp_path / "texts")
    assert found["classes"] == {"ham": 2, "spam": 1}


def test_a_set_without_data_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found, _ = check("resnet18", tmp_path / "empty")
    assert found["first_errors"] == [f"{tmp_path}/empty holds no data"]
