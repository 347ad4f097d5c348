"""List files: classes, regressions, several labels an image, and where their paths start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Datum
from ddstream.errors import InputError
from ddstream.repository import Repository
from tests.connectors.images.pictures import encoded, photo
from tests.connectors.images.sets import SIZE, listed, made, targets


def test_a_list_file_gives_classes_by_number(folder: Path, tmp_path: Path) -> None:
    listing = listed(
        tmp_path / "train.txt", f"{folder}/owl/0.png 5", "", f"  {folder}/ant/1.png\t0  "
    )
    data = made(listing, listing, mllib={"nclasses": 6})
    assert targets(data.train) == [5, 0]
    assert data.classes == ()
    assert data.train.name == "train.txt"
    assert data.train.read(0, None).uri == f"{folder}/owl/0.png"


def test_a_path_in_a_list_may_have_spaces(tmp_path: Path) -> None:
    (tmp_path / "two words 3.png").write_bytes(encoded(photo(16, 16)))
    listing = listed(tmp_path / "list.txt", "two words 3.png 1")
    assert targets(made(listing, listing).train) == [1]


@pytest.mark.parametrize("number", ["3", "-1", "0.5"])
def test_an_invalid_class_in_a_list_is_refused(folder: Path, tmp_path: Path, number: str) -> None:
    listing = listed(tmp_path / "list.txt", f"{folder}/owl/0.png {number}")
    text = rf"Dataset contains an invalid class: {number} in file .*list\.txt \(nclasses=3\)"
    with pytest.raises(InputError, match=text):
        made(listing, listing, mllib={"nclasses": 3})


def test_a_class_that_no_model_could_have_is_refused(tmp_path: Path) -> None:
    listing = listed(tmp_path / "list.txt", "image.png 1e9")
    with pytest.raises(InputError, match=r"invalid class: 1e\+09"):
        made(listing, listing, multi_label=True)


@pytest.mark.parametrize("line", ["image.png", "image.png 1 2", "image.png cat", "7"])
def test_a_line_without_one_class_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    listing = listed(tmp_path / "list.txt", "first.png 0", line)
    with pytest.raises(InputError, match=r"line 2 of .*one class number is expected"):
        made(listing, listing)


def test_a_list_gives_the_targets_of_a_regression(folder: Path, tmp_path: Path) -> None:
    listing = listed(
        tmp_path / "list.txt", f"{folder}/owl/0.png 1.5 -2e3", f"{folder}/ant/0.png 0 7"
    )
    data = made(listing, listing, mllib={"ntargets": 2})
    first, second = targets(data.train)
    assert first.dtype == np.float32
    assert first.tolist() == [1.5, -2000.0]
    assert second.tolist() == [0.0, 7.0]
    with pytest.raises(InputError, match=r"line 1 of .*: 2 targets, ntargets is 3"):
        made(listing, listing, mllib={"ntargets": 3})


def test_a_regression_from_class_folders_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="a regression needs a list file"):
        made(folder, folder, mllib={"ntargets": 1})


@pytest.mark.promise("services.input.image.multi_label")
@pytest.mark.parametrize(("mllib", "length"), [({"nclasses": 6}, 6), ({}, 5)])
def test_multi_label_lists_give_a_vector_of_classes(
    folder: Path, tmp_path: Path, mllib: dict[str, Any], length: int
) -> None:
    image = f"{folder}/owl/0.png"
    listing = listed(tmp_path / "list.txt", f"{image} 1 4", f"{image} 0", image)
    data = made(listing, listing, mllib=mllib, multi_label=True)
    expected = np.zeros((3, length), np.float32)
    expected[0, [1, 4]] = expected[1, 0] = 1.0
    assert np.array_equal(targets(data.train), expected)
    assert np.array_equal(targets(data.tests[0]), expected)


@pytest.mark.promise("services.input.image.multi_label")
def test_multi_label_bounds_the_classes_of_test_sets_too(folder: Path, tmp_path: Path) -> None:
    train = listed(tmp_path / "train.txt", f"{folder}/owl/0.png 0 1")
    test = listed(tmp_path / "test.txt", f"{folder}/owl/0.png 0 2")
    with pytest.raises(InputError, match="invalid class: 2"):
        made(train, test, multi_label=True)


def test_class_folders_with_multi_label_give_vectors(folder: Path) -> None:
    data = made(folder, folder, mllib={"multi_label": True})
    assert data.train.read(11, None).target.tolist() == [0.0, 0.0, 1.0]  # type: ignore[union-attr]


@pytest.mark.promise("services.input.image.root_folder")
def test_paths_of_a_list_start_at_root_folder_then_here_then_beside_the_list(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {name: tmp_path / name for name in ("root", "here", "beside")}
    for number, place in enumerate(places.values()):
        place.mkdir()
        (place / "x.png").write_bytes(encoded(np.full((16, 16, 3), number, np.uint8)))
    monkeypatch.chdir(places["here"])
    listing = listed(places["beside"] / "list.txt", "x.png 0")
    root = str(places["root"])

    def shade() -> int:
        data = made(listing, listing, root_folder=root)
        return int(data.train.read(0, None).inputs["image"][0, 0, 0])

    assert shade() == 0
    (places["root"] / "x.png").unlink()
    assert shade() == 1
    (places["here"] / "x.png").unlink()
    assert shade() == 2


def test_equal_names_beside_different_lists_are_different_images(tmp_path: Path) -> None:
    lists = []
    for number, name in enumerate(("train", "test")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(encoded(np.full((16, 16, 3), number, np.uint8)))
        lists.append(listed(tmp_path / name / "list.txt", "x.png 0"))
    data = made(*lists)
    shades = [each.read(0, None).inputs["image"].max() for each in (data.train, *data.tests)]
    assert shades == [0, 1]


def test_a_file_that_is_no_list_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="could not be read as a list of images"):
        made(folder / "owl" / "0.png", folder)


def measured(
    repository: Path, data: Path, mllib: dict[str, Any] | None = None, **raw: Any
) -> list[Any]:
    """The targets of the samples that a predict call with a measure reads."""
    reader = ImageConnector({**SIZE, **raw}, Repository(repository))
    return [sample.target for sample in reader.labelled(Datum("0", data), mllib or {})]


@pytest.mark.promise("predict.output.measure")
def test_class_folders_are_measured_by_the_names_of_the_training(
    folder: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "model"
    repository.mkdir()
    assert measured(repository, folder) == [0] * 4 + [1] * 4 + [2] * 4
    Repository(repository).write_classes(["owl", "yak", "bee", "ant"])
    assert measured(repository, folder) == [3] * 4 + [2] * 4 + [0] * 4
    Repository(repository).write_classes(["owl", "bee"])
    with pytest.raises(InputError, match=r"class ant of .* is not in the training set"):
        measured(repository, folder)


@pytest.mark.promise("predict.output.measure")
def test_lists_are_measured(folder: Path, tmp_path: Path) -> None:
    listing = listed(tmp_path / "list.txt", f"{folder}/owl/0.png 2", f"{folder}/ant/1.png 0")
    assert measured(tmp_path, listing) == [2, 0]
    (first, second) = measured(tmp_path, listing, {"ntargets": 1})
    assert (first.tolist(), second.tolist()) == ([2.0], [0.0])
    (first, second) = measured(tmp_path, listing, {"nclasses": 3}, multi_label=True)
    assert (first.tolist(), second.tolist()) == ([0, 0, 1], [1, 0, 0])
    with pytest.raises(InputError, match=r"multi_label needs parameters\.mllib\.nclasses"):
        measured(tmp_path, listing, multi_label=True)
    with pytest.raises(InputError, match=r"invalid class: 2"):
        measured(tmp_path, listing, {"nclasses": 2})


@pytest.mark.promise("services.input.image.root_folder")
def test_what_is_measured_starts_at_root_folder(folder: Path, tmp_path: Path) -> None:
    reader = ImageConnector({**SIZE, "root_folder": str(tmp_path)}, Repository(tmp_path))
    (sample, *_) = reader.labelled(Datum("birds", "birds"), {})
    assert sample.target == 0


def test_data_without_labels_are_not_measured(tmp_path: Path) -> None:
    for content in (photo(), encoded(photo()), "no such list"):
        reader = ImageConnector(SIZE, Repository(tmp_path))
        with pytest.raises(InputError, match="5 has no labels: a folder or a list is expected"):
            reader.labelled(Datum("5", content), {})


def test_an_image_of_a_list_that_cannot_be_read_fails_the_call(tmp_path: Path) -> None:
    listing = listed(tmp_path / "list.txt", "gone.png 1")
    with pytest.raises(InputError, match=r"Could not read image.*gone\.png"):
        measured(tmp_path, listing)


def test_lists_may_come_from_other_systems(folder: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_bytes(f"\ufeff{folder}/owl/0.png 2\r\n\r\n{folder}/ant/1.png 0".encode())
    assert targets(made(listing, listing).train) == [2, 0]
