"""Images kept on disk: the same samples as from their files, varied anew when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.data import Dataset, Normalise
from ddstream.errors import InputError
from tests.connectors.images.sets import kept, listed, names, targets


def pixels(data: Dataset, seed: int | None = None) -> list[Any]:
    """The pixels of each sample."""
    rng = None if seed is None else np.random.default_rng(seed)
    return [data.read(index, rng).inputs["image"] for index in range(len(data))]


def test_kept_images_are_those_of_the_files(folder: Path, tmp_path: Path) -> None:
    disk = kept(tmp_path / "disk", folder, db=True, test_split=0.25, width=9, height=7)
    plain = kept(tmp_path / "plain", folder, test_split=0.25, width=9, height=7)
    assert (tmp_path / "disk" / "train.lmdb").is_file()
    assert (tmp_path / "disk" / "test_0.lmdb").is_file()
    for one, two in ((disk.train, plain.train), (disk.tests[0], plain.tests[0])):
        assert names(one) == names(two)
        assert targets(one) == targets(two)
        assert one.name == two.name
        assert all(map(np.array_equal, pixels(one), pixels(two)))
    assert list(disk.classes) == list(plain.classes) == ["ant", "bee", "owl"]


def test_kept_images_are_varied_as_those_of_files(folder: Path, tmp_path: Path) -> None:
    mllib = {"mirror": True, "crop_size": 8, "test_crop_samples": 3, "cutout": 0.5}
    disk = kept(tmp_path / "disk", folder, folder, db=True, mllib=mllib)
    plain = kept(tmp_path / "plain", folder, folder, mllib=mllib)
    assert len(disk.tests[0]) == 36
    assert all(map(np.array_equal, pixels(disk.tests[0]), pixels(plain.tests[0])))
    for seed in (1, 2):
        assert all(map(np.array_equal, pixels(disk.train, seed), pixels(plain.train, seed)))
    assert not all(map(np.array_equal, pixels(disk.train, 1), pixels(disk.train, 2)))


def test_kept_images_are_read_without_their_files(folder: Path, tmp_path: Path) -> None:
    kept(tmp_path / "disk", folder, folder, db=True)
    again = kept(tmp_path / "disk", tmp_path / "gone", db=True, mean=9, scale=0.5)
    assert len(again.train) == 12
    assert any("`data` was not read" in warning for warning in again.warnings)
    # What is done to pixels later belongs to the request.
    assert again.train.read(0, None).normalise == Normalise(0.5, (9,), ())
    store = tmp_path / "disk" / "train.lmdb"
    named = kept(tmp_path / "other", store, test_split=0.5)
    assert (len(named.train), len(named.tests[0])) == (6, 6)


@pytest.mark.parametrize("changed", [{"width": 8}, {"rgb": False}, {"interp": "nearest"}])
def test_kept_images_of_other_parameters_are_refused(
    folder: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    kept(tmp_path / "disk", folder, folder, db=True)
    (name,) = changed
    with pytest.raises(InputError, match=rf"train\.lmdb was made with {name} "):
        kept(tmp_path / "disk", folder, folder, db=True, **changed)


def test_numbers_and_several_labels_are_kept(folder: Path, tmp_path: Path) -> None:
    lines = [f"{folder / 'ant' / '0.png'} 0.5 2", f"{folder / 'bee' / '1.png'} -1 3"]
    file = listed(tmp_path / "list", *lines)
    sets = kept(tmp_path / "a", file, file, db=True, mllib={"ntargets": 2})
    assert [each.tolist() for each in targets(sets.train)] == [[0.5, 2], [-1, 3]]
    lines = [f"{folder / 'ant' / '0.png'} 0 2", f"{folder / 'bee' / '1.png'} 1"]
    file = listed(tmp_path / "several", *lines)
    sets = kept(tmp_path / "b", file, file, db=True, multi_label=True)
    assert [each.tolist() for each in targets(sets.train)] == [[1, 0, 1], [0, 1, 0]]


def test_images_that_cannot_be_read_are_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "bee" / "broken.png").write_bytes(b"no image")
    sets = kept(tmp_path / "disk", folder, folder, db=True)
    assert len(sets.train) == 12
