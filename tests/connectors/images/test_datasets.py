"""Image data sets: class folders and list files, test sets and splits, augmentation, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.connectors.images.connector import ImageConnector
from ddstream.connectors.protocol import Limits
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.roots import Roots
from tests.connectors.images.pictures import connector, encoded, photo
from tests.connectors.images.sets import listed, made, names, targets


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


@pytest.mark.parametrize("flag", ["bbox", "segmentation"])
def test_files_of_labels_outside_the_roots_are_refused(tmp_path: Path, flag: str) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "secret").write_text("1 0 0 4 4")
    listing = listed(tmp_path / "allowed" / "list.txt", "x.png ../secret")
    limits = Limits(Roots((tmp_path / "allowed",)))
    inside = ImageConnector({flag: True}, Repository(tmp_path), limits)
    with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
        inside.datasets([listing, listing], {})


def test_an_image_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(encoded(photo())[:-20])
    listing = listed(tmp_path / "list.txt", "missing.png 0", "broken.png 0")
    data = made(listing, listing)
    for index, name in enumerate(("missing.png", "broken.png")):
        with pytest.raises(InputError, match=f"Could not read image.*{name}"):
            data.train.read(index, None)


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
    data = made(folder, folder, mllib={"test_crop_samples": 3})
    assert len(data.tests[0]) == 12
    assert any("test_crop_samples needs crop_size" in warning for warning in data.warnings)


@pytest.mark.parametrize("name", ["nclasses", "ntargets"])
def test_counts_that_are_no_numbers_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        made(folder, folder, mllib={name: "two"})
