"""Image data sets: class folders and list files, test sets and splits, augmentation, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.connectors.image import ImageConnector
from ddstream.connectors.protocol import Limits
from ddstream.data import Dataset, Datasets
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.roots import Roots
from tests.connectors.pictures import connector, encoded, photo

SIZE = {"width": 16, "height": 16, "rgb": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of four images each, one of them in a deeper folder."""
    for number, name in enumerate(("owl", "ant", "bee")):
        for index in range(4):
            below = tmp_path / "birds" / name / ("deep" if index == 3 else "")
            below.mkdir(parents=True, exist_ok=True)
            picture = np.roll(photo(16, 16), number * 4 + index, axis=0)
            (below / f"{index}.png").write_bytes(encoded(picture))
    return tmp_path / "birds"


def listed(file: Path, *lines: str) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def made(*data: Path, mllib: dict[str, Any] | None = None, **raw: Any) -> Datasets:
    return connector(**SIZE, **raw).datasets(data, mllib or {})


def names(data: Dataset) -> list[str]:
    """The last two parts of each sample's uri."""
    return ["/".join(Path(data.read(i, None).uri).parts[-2:]) for i in range(len(data))]


def targets(data: Dataset) -> list[Any]:
    return [data.read(i, None).target for i in range(len(data))]


@pytest.mark.promise("train.data")
def test_class_folders_give_ids_by_their_sorted_names(folder: Path) -> None:
    data = made(folder, folder)
    assert data.classes == ["ant", "bee", "owl"]
    assert targets(data.train) == [0] * 4 + [1] * 4 + [2] * 4
    assert names(data.train)[:4] == ["ant/0.png", "ant/1.png", "ant/2.png", "deep/3.png"]
    assert data.train.name == "birds"
    sample = data.train.read(8, None)
    assert sample.uri == str(folder / "owl" / "0.png")
    assert np.array_equal(sample.inputs["image"], photo(16, 16))


@pytest.mark.promise("train.data")
def test_every_further_folder_is_a_test_set_matched_by_class_names(
    folder: Path, tmp_path: Path
) -> None:
    for name, classes in (("few", ("owl",)), ("more", ("owl", "bee"))):
        for each in classes:
            (tmp_path / name / each).mkdir(parents=True)
            (tmp_path / name / each / "x.png").write_bytes(encoded(photo(16, 16)))
    data = made(folder, tmp_path / "few", tmp_path / "more")
    assert [test.name for test in data.tests] == ["few", "more"]
    assert [targets(test) for test in data.tests] == [[2], [1, 2]]


def test_a_class_that_only_a_test_set_has_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "test" / "yak").mkdir(parents=True)
    with pytest.raises(InputError, match=r"class yak of .* is not in the training set"):
        made(folder, tmp_path / "test")


def test_more_folders_than_classes_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"class owl of .*birds .*nclasses=2"):
        made(folder, folder, mllib={"nclasses": 2})
    assert len(made(folder, folder, mllib={"nclasses": 5}).classes) == 3


def test_files_beside_the_class_folders_are_warned_of(folder: Path) -> None:
    (folder / "stray.png").write_bytes(encoded(photo()))
    (folder / ".hidden").write_text("")
    data = made(folder, test_split=0.5)
    assert len(data.train) == 6
    assert any("1 files are in no class folder" in warning for warning in data.warnings)


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


@pytest.mark.promise("services.input.image.root_folder")
def test_data_itself_starts_at_root_folder(folder: Path) -> None:
    assert len(made(Path("birds"), Path("birds"), root_folder=str(folder.parent)).train) == 12


@pytest.mark.promise("train.input.image.test_split")
@pytest.mark.parametrize(("part", "kept"), [(0.25, 9), (0.1, 10), (0.5, 6), (0.9, 1)])
def test_test_split_holds_out_the_end(folder: Path, part: float, kept: int) -> None:
    data = made(folder, test_split=part)
    everything = names(made(folder, folder).train)
    assert names(data.train) == everything[:kept]
    (test,) = data.tests
    assert names(test) == everything[kept:]
    assert test.name == "split"


@pytest.mark.promise("train.input.image.test_split")
def test_a_split_beside_a_test_set_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"User specified both a test split 0\.2 and a test set"):
        made(folder, folder, test_split=0.2)


@pytest.mark.promise("train.input.image.shuffle", "train.input.image.seed")
def test_shuffling_comes_before_splitting_and_follows_the_seed(folder: Path) -> None:
    def split(**raw: Any) -> tuple[list[str], list[str]]:
        data = made(folder, test_split=0.25, **raw)
        return names(data.train), names(data.tests[0])

    ordered = split(seed=7)
    shuffled = split(shuffle=True, seed=7)
    assert shuffled != ordered
    assert sorted([*shuffled[0], *shuffled[1]]) == sorted([*ordered[0], *ordered[1]])
    assert split(shuffle=True, seed=7) == shuffled
    assert split(shuffle=True, seed=8) != shuffled
    assert len({str(split(shuffle=True)) for _ in range(4)}) > 1
    assert any(not uri.startswith("owl") for uri in shuffled[1])


@pytest.mark.promise("train.input.image.shuffle", "train.input.image.seed")
def test_the_trainer_is_told_to_reshuffle(folder: Path) -> None:
    data = made(folder, folder, shuffle=True, seed=5)
    assert (data.shuffle, data.seed) == (True, 5)
    assert (made(folder, folder).shuffle, made(folder, folder).seed) == (False, -1)


def test_shuffling_keeps_images_and_targets_together(folder: Path) -> None:
    data = made(folder, folder, shuffle=True, seed=1)
    for index in range(len(data.train)):
        sample = data.train.read(index, None)
        assert Path(sample.uri).relative_to(folder).parts[0] == data.classes[int(sample.target)]  # type: ignore[arg-type]


def test_training_without_test_data_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in ((folder,), (folder, tmp_path / "empty")):
        with pytest.raises(ParameterError, match="empty test dataset") as refused:
            made(*data)
        assert refused.value.status()["dd_code"] == 1006


def test_training_without_images_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="No data found in training dataset"):
        made(tmp_path / "empty", folder)
    with pytest.raises(InputError, match="missing data"):
        made()


@pytest.mark.promise("errors.code.1005")
def test_data_that_do_not_exist_are_refused(folder: Path) -> None:
    text = "Torch image input connector folders or image list .*nothing does not exist"
    for data in ((folder / "nothing", folder), (folder, folder / "nothing")):
        with pytest.raises(InputError, match=text):
            made(*data)


def test_data_outside_the_roots_are_refused(folder: Path, tmp_path: Path) -> None:
    limits = Limits(Roots((tmp_path / "allowed",)))
    inside = ImageConnector({}, Repository(tmp_path), limits)
    with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
        inside.datasets([folder, folder], {})
    (tmp_path / "allowed").mkdir()
    listing = listed(tmp_path / "allowed" / "list.txt", f"{folder}/owl/0.png 0")
    data = inside.datasets([listing, listing], {})
    with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
        data.train.read(0, None)


def test_an_image_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(encoded(photo())[:-20])
    listing = listed(tmp_path / "list.txt", "missing.png 0", "broken.png 0")
    data = made(listing, listing)
    for index, name in enumerate(("missing.png", "broken.png")):
        with pytest.raises(InputError, match=f"Could not read image.*{name}"):
            data.train.read(index, None)


def test_a_file_that_is_no_list_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="could not be read as a list of images"):
        made(folder / "owl" / "0.png", folder)


@pytest.mark.promise("train.torch.mirror", "train.torch.rotate", "train.torch.cutout")
@pytest.mark.parametrize("option", [{"mirror": True}, {"rotate": True}, {"cutout": 1.0}])
@pytest.mark.parametrize("layout", ["folder", "list"])
def test_augmentation_acts_on_every_layout_in_training_only(
    folder: Path, tmp_path: Path, option: dict[str, Any], layout: str
) -> None:
    source = folder
    if layout == "list":
        source = listed(tmp_path / "list.txt", f"{folder}/owl/0.png 0")
    data = made(source, source, mllib=option)
    rng = np.random.default_rng(0)
    plain = data.train.read(0, None).inputs["image"]
    varied = [data.train.read(0, rng).inputs["image"] for _ in range(20)]
    assert any(not np.array_equal(each, plain) for each in varied)
    assert np.array_equal(data.tests[0].read(0, None).inputs["image"], plain)


@pytest.mark.promise("train.torch.rotate")
def test_rotation_is_disabled_with_a_warning_when_width_and_height_differ(folder: Path) -> None:
    wide = connector(width=24, height=16).datasets([folder, folder], {"rotate": True})
    assert "rotate is disabled" in wide.warnings[0]
    rng = np.random.default_rng(0)
    shapes = {wide.train.read(0, rng).inputs["image"].shape for _ in range(20)}
    assert shapes == {(16, 24, 3)}
    square = connector(width=24, height=16).datasets(
        [folder, folder], {"rotate": True, "crop_size": 12}
    )
    assert square.warnings == []


@pytest.mark.promise("train.torch.crop_size")
def test_a_crop_is_the_model_input_in_training_and_test(folder: Path) -> None:
    data = made(folder, folder, mllib={"crop_size": 10})
    rng = np.random.default_rng(0)
    crops = [data.train.read(0, rng).inputs["image"] for _ in range(30)]
    assert {crop.shape for crop in crops} == {(10, 10, 3)}
    assert len({crop.tobytes() for crop in crops}) > 10
    assert data.tests[0].read(0, None).inputs["image"].shape == (10, 10, 3)


@pytest.mark.promise("train.torch.crop_size")
def test_a_crop_larger_than_the_images_is_refused(folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"crop_size 17 is larger than the images \(16 x 16\)"):
        made(folder, folder, mllib={"crop_size": 17})
    native = connector(width=-1, height=-1).datasets([folder, folder], {"crop_size": 17})
    with pytest.raises(ParameterError, match="crop_size 17"):
        native.train.read(0, np.random.default_rng(0))


@pytest.mark.promise("train.torch.test_crop_samples")
def test_each_crop_of_a_test_image_is_a_test_sample(folder: Path) -> None:
    data = made(folder, folder, mllib={"crop_size": 10, "test_crop_samples": 3})
    (test,) = data.tests
    assert len(data.train) == 12
    assert len(test) == 36
    samples = [test.read(index, None) for index in range(6)]
    assert len({sample.uri for sample in samples[:3]}) == 1
    assert samples[0].uri != samples[3].uri
    assert len({sample.inputs["image"].tobytes() for sample in samples[:3]}) > 1
    again = test.read(1, None).inputs["image"]
    assert np.array_equal(again, samples[1].inputs["image"])


def test_options_without_effect_are_warned_of(folder: Path) -> None:
    data = made(folder, folder, db=True, mllib={"test_crop_samples": 3})
    assert len(data.tests[0]) == 12
    assert any("test_crop_samples needs crop_size" in warning for warning in data.warnings)
    assert any("no database is written" in warning for warning in data.warnings)


@pytest.mark.parametrize("name", ["nclasses", "ntargets"])
def test_counts_that_are_no_numbers_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        made(folder, folder, mllib={name: "two"})
