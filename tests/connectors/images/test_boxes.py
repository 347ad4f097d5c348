"""Lists of boxes: detection sets, their files, and how boxes follow their images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ddstream.data import Array, Dataset, Datum
from ddstream.errors import InputError, ParameterError
from tests.connectors.images.pictures import connector, encoded, photo, pillow
from tests.connectors.images.sets import kept, listed

HEIGHT, WIDTH = 60, 80
GREEN = (0, 255, 0)
FIRST, SECOND = (10, 20, 30, 50), (40, 6, 72, 26)


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    """A list of two images: one with two green boxes, of classes 2 and 1, and one with none."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for left, top, right, bottom in (FIRST, SECOND):
        picture[top:bottom, left:right] = GREEN
    (tmp_path / "some.png").write_bytes(encoded(picture))
    (tmp_path / "none.png").write_bytes(encoded(photo(HEIGHT, WIDTH)))
    text = "\n".join(f"{c} {' '.join(map(str, b))}" for c, b in ((2, FIRST), (1, SECOND)))
    (tmp_path / "some.txt").write_text("\ufeff" + text + "\r\n\r\n", encoding="utf-8")
    (tmp_path / "none.txt").write_text("")
    return listed(tmp_path / "boxes.txt", "some.png some.txt", "", "none.png\tnone.txt")


def target(data: Dataset, index: int = 0, seed: int | None = None) -> tuple[Array, list[int]]:
    """The boxes and labels of a sample."""
    found: Any = data.read(index, None if seed is None else np.random.default_rng(seed)).target
    assert found["boxes"].dtype == np.float32
    assert found["labels"].dtype == np.int64
    assert found["boxes"].shape == (len(found["labels"]), 4)
    return found["boxes"], found["labels"].tolist()


def green(image: Array, box: Array) -> tuple[float, float]:
    """The part of a box that is green, and the part of all green that is in it."""
    inside = np.zeros(image.shape[:2], bool)
    left, top, right, bottom = (round(float(edge)) for edge in box)
    inside[top:bottom, left:right] = True
    ink = image[..., 1] > 127
    return (ink & inside).sum() / inside.sum(), (ink & inside).sum() / ink.sum()


@pytest.mark.promise("services.input.image.bbox", "train.input.image.bbox", "train.data")
def test_a_list_of_box_files_gives_boxes_and_classes(boxed: Path) -> None:
    data = connector(width=-1, height=-1, bbox=True).datasets([boxed, boxed], {"nclasses": 2})
    boxes, labels = target(data.train)
    assert boxes.tolist() == [list(map(float, FIRST)), list(map(float, SECOND))]
    assert labels == [2, 1]
    boxes, labels = target(data.train, 1)
    assert (len(boxes), labels) == (0, [])
    assert data.train.read(0, None).meta["size"] == (HEIGHT, WIDTH)


@pytest.mark.promise("train.input.image.bbox")
@pytest.mark.parametrize(
    "raw",
    [
        {"width": 160, "height": 60},
        {"width": 40, "height": 30},
        {"width": 96, "height": -1},
        {"width": 96, "height": -1, "aspect_ratio_pad": True},
        {"width": 120, "height": 90, "crop_width": 110, "crop_height": 84},
        {"scale_min": 90, "scale_max": 100},
    ],
)
def test_boxes_follow_their_image_into_its_sample(boxed: Path, raw: dict[str, Any]) -> None:
    options: dict[str, Any] = {"bbox": True, "interp": "nearest"} | raw
    data = connector(**options).datasets([boxed, boxed], {})
    sample = data.train.read(0, None)
    boxes, labels = target(data.train)
    assert labels == [2, 1]
    covered = [green(sample.inputs["image"], box) for box in boxes]
    assert min(filled for filled, _ in covered) > 0.9
    assert sum(part for _, part in covered) > 0.9


def test_boxes_that_a_centre_crop_leaves_out_are_dropped_and_others_cut(boxed: Path) -> None:
    raw = {"width": 80, "height": 60, "crop_width": 30, "crop_height": 60}
    boxes, labels = target(connector(bbox=True, **raw).datasets([boxed, boxed], {}).train)
    assert boxes.tolist() == [[0, 20, 5, 50], [15, 6, 30, 26]]
    assert labels == [2, 1]
    raw = {"width": 80, "height": 60, "crop_width": 80, "crop_height": 6}
    boxes, labels = target(connector(bbox=True, **raw).datasets([boxed, boxed], {}).train)
    assert boxes.tolist() == [[10, 0, 30, 6]]
    assert labels == [2]


@pytest.mark.promise("errors.code.1005")
@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("1 2 3 4", "line 1 of bad.txt: `class xmin ymin xmax ymax` is expected"),
        ("cat 1 2 3 4", "line 1 of bad.txt: `class"),
        ("1 1 2 3 4 5", "line 1 of bad.txt: `class"),
        ("1 9 2 3 4", "line 1 of bad.txt: a box has xmin < xmax and ymin < ymax"),
        ("1 1 nan 3 4", "line 1 of bad.txt"),
        ("0 1 2 3 4", r"invalid class: 0 in file bad.txt \(nclasses=3\)"),
        ("4 1 2 3 4", r"Dataset contains an invalid class: 4 in file bad.txt \(nclasses=3\)"),
        ("1.5 1 2 3 4", r"invalid class: 1.5"),
        ("1e30 1 2 3 4", r"invalid class: 1e\+30"),
    ],
)
def test_a_wrong_box_is_refused_with_its_file(tmp_path: Path, line: str, text: str) -> None:
    (tmp_path / "bad.txt").write_text(line)
    listing = listed(tmp_path / "list.txt", "any.png bad.txt")
    with pytest.raises(InputError, match=text) as refused:
        connector(bbox=True).datasets([listing, listing], {"nclasses": 3})
    assert refused.value.status()["dd_code"] == 1005


def test_the_last_class_is_the_number_of_classes(boxed: Path) -> None:
    made = connector(bbox=True)
    assert target(made.datasets([boxed, boxed], {"nclasses": 2}).train)[1] == [2, 1]
    with pytest.raises(InputError, match="invalid class: 2"):
        made.datasets([boxed, boxed], {"nclasses": 1})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("some.png gone.txt", "Could not open bbox file: gone.txt"),
        ("some.png", "line 1 of .*list.txt: a path of an image and one of its boxes"),
        ("some.png a b", "line 1 of .*list.txt: .* with spaces in them, put a tab between"),
    ],
)
def test_a_wrong_line_is_refused(tmp_path: Path, line: str, text: str) -> None:
    listing = listed(tmp_path / "list.txt", line)
    with pytest.raises(InputError, match=text):
        connector(bbox=True).datasets([listing, listing], {})


def test_paths_with_spaces_stand_around_a_tab(boxed: Path) -> None:
    (boxed.parent / "some.png").rename(boxed.parent / "so me.png")
    listing = listed(boxed.parent / "list.txt", "so me.png\tsome.txt")
    assert target(connector(bbox=True).datasets([listing, listing], {}).train)[1] == [2, 1]


def test_a_box_outside_its_image_is_refused_and_one_at_the_edge_is_cut(boxed: Path) -> None:
    (boxed.parent / "some.txt").write_text("1 -3 5 20 99\n2 80 0 90 9")
    data = connector(width=-1, height=-1, bbox=True).datasets([boxed, boxed], {})
    with pytest.raises(InputError, match=r"box 2 of some.txt is outside its image \(80 x 60\)"):
        data.train.read(0, None)
    (boxed.parent / "some.txt").write_text("1 -3 5 20 1e300")
    assert target(data.train)[0].tolist() == [[0, 5, 20, 60]]


def test_boxes_go_before_masks_and_a_folder_is_refused(boxed: Path, folder: Path) -> None:
    both = connector(bbox=True, segmentation=True)
    assert target(both.datasets([boxed, boxed], {}).train)[1] == [2, 1]
    with pytest.raises(InputError, match="bbox needs a list file"):
        both.datasets([folder, folder], {})


@pytest.mark.promise("train.input.image.db_width", "train.input.image.db_height")
def test_images_with_boxes_are_kept_in_a_size_of_their_own(boxed: Path, tmp_path: Path) -> None:
    raw: dict[str, Any] = {"bbox": True, "db": True}
    raw |= {"db_width": 160, "db_height": 60, "width": 40, "height": 30}
    data = kept(tmp_path / "kept", boxed, boxed, **raw)
    assert (data.dimensions.height, data.dimensions.width) == (30, 40)
    assert data.train.read(0, None).inputs["image"].shape == (30, 40, 3)
    assert target(data.train)[0].tolist() == [[5, 10, 15, 25], [20, 3, 36, 13]]
    # The size of the model may change, that of the kept images may not.
    wider = kept(tmp_path / "kept", boxed, boxed, **raw | {"width": 80})
    assert target(wider.train)[0].tolist() == [[10, 10, 30, 25], [40, 3, 72, 13]]
    with pytest.raises(InputError, match="was made with width 160, not 170"):
        kept(tmp_path / "kept", boxed, boxed, **raw | {"db_width": 170})


@pytest.mark.promise("train.input.image.db_width", "train.input.image.db_height")
def test_sizes_of_kept_images_go_together_and_want_a_store() -> None:
    with pytest.raises(InputError, match="db_width and db_height go together"):
        connector(db_width=100)
    said = connector(db_width=100, db_height=100).parameters.unknown("parameters.input")
    assert said == ["parameters.input.db_width and db_height act with db and bbox only"]


@pytest.mark.parametrize("raw", [{}, {"bw": True}, {"unchanged_data": True}])
def test_kept_boxes_are_those_of_the_files(boxed: Path, tmp_path: Path, raw: Any) -> None:
    raw = {"bbox": True, "rgb": False, "width": 40, "height": 40} | raw
    disk = kept(tmp_path / "kept", boxed, boxed, db=True, **raw)
    plain = kept(tmp_path / "plain", boxed, boxed, **raw)
    for index in (0, 1):
        one, two = disk.train.read(index, None), plain.train.read(index, None)
        assert np.array_equal(one.inputs["image"], two.inputs["image"])
        assert np.array_equal(target(disk.train, index)[0], target(plain.train, index)[0])
        assert target(disk.train, index)[1] == target(plain.train, index)[1]
        assert one.meta["size"] == two.meta["size"]


@pytest.mark.promise("train.torch.mirror", "train.torch.crop_size", "train.torch.rotate")
def test_boxes_move_with_augmented_images(boxed: Path) -> None:
    # Perspective would leave corners of a box empty.
    geometry = {"prob": 0.5, "persp_horizontal": False, "persp_vertical": False}
    mllib = {"mirror": True, "rotate": True, "crop_size": 56, "geometry": geometry}
    data = connector(width=80, height=60, bbox=True, interp="nearest").datasets(
        [boxed, boxed], mllib
    )
    places = set()
    for seed in range(40):
        sample = data.train.read(0, np.random.default_rng(seed))
        for box in target(data.train, 0, seed)[0]:
            left, top, right, bottom = box
            if right - left > 8 and bottom - top > 8:
                assert green(sample.inputs["image"], box)[0] > 0.85
            places.add(tuple(np.rint(box)))
    assert len(places) > 40


def test_crops_of_test_images_have_their_boxes(boxed: Path) -> None:
    data = connector(width=80, height=60, bbox=True, interp="nearest").datasets(
        [boxed, boxed], {"crop_size": 50, "test_crop_samples": 4}
    )
    (test,) = data.tests
    assert len(test) == 8
    for index in range(4):
        for box in target(test, index)[0]:
            assert green(test.read(index, None).inputs["image"], box)[0] > 0.95
    assert len(target(test, 5)[0]) == 0


def test_boxes_are_measured_at_predict(boxed: Path) -> None:
    made = connector(width=40, height=30, bbox=True)
    first, second = made.labelled(Datum("0", boxed), {"nclasses": 2})
    assert first.target["boxes"].tolist() == [[5, 10, 15, 25], [20, 3, 36, 13]]  # type: ignore[index]
    assert len(second.target["boxes"]) == 0  # type: ignore[index]


def test_boxes_are_in_pixels_of_the_image_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    # To be turned clockwise before it is shown.
    exif[0x0112] = 6
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[0:10, 0:30] = GREEN
    (tmp_path / "p.jpg").write_bytes(pillow(stored, "JPEG", quality=100, exif=exif))
    (tmp_path / "p.txt").write_text("1 30 0 40 30")
    listing = listed(tmp_path / "list.txt", "p.jpg p.txt")
    data = connector(width=-1, height=-1, bbox=True).datasets([listing, listing], {})
    sample = data.train.read(0, None)
    assert sample.meta["size"] == (60, 40)
    assert green(sample.inputs["image"], target(data.train)[0][0])[0] > 0.99


def test_a_large_photograph_keeps_its_objects_in_place(tmp_path: Path) -> None:
    picture = photo(400, 600)
    cv2.rectangle(picture, (120, 200), (239, 359), GREEN, -1)
    (tmp_path / "p.png").write_bytes(encoded(picture))
    (tmp_path / "p.txt").write_text("1 120 200 240 360")
    listing = listed(tmp_path / "list.txt", "p.png p.txt")
    data = connector(width=150, height=100, bbox=True).datasets([listing, listing], {})
    assert target(data.train)[0].tolist() == [[30, 50, 60, 90]]


def test_a_crop_larger_than_the_images_is_refused(boxed: Path) -> None:
    with pytest.raises(ParameterError, match="crop_size 61"):
        connector(width=80, height=60, bbox=True).datasets([boxed, boxed], {"crop_size": 61})
