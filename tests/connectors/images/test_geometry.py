"""Geometry: perspective, zoom and shift, with the boxes and masks of what they move."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.api.augment import Geometry
from ddstream.connectors.images.geometry import quadrilateral, reflections, transformed
from ddstream.connectors.images.picture import Picture
from ddstream.data import Array
from tests.connectors.images.test_picture import blue, boxed, rectangle

STILL = {
    "persp_horizontal": False,
    "persp_vertical": False,
    "zoom_in": False,
    "zoom_out": False,
}
SIDE = 60
WHOLE = np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], np.float64)


def seen(seed: int, **wanted: Any) -> Array:
    """The corners that are seen, as shares of the side."""
    geometry = Geometry(prob=1, **(STILL | wanted))
    found = quadrilateral(SIDE, SIDE, geometry, np.random.default_rng(seed))
    return np.asarray((found - WHOLE) / SIDE)


@pytest.mark.promise("train.torch.geometry")
@given(boxed(), st.booleans(), st.booleans(), st.integers(0, 999))
@settings(max_examples=200)
def test_an_object_stays_in_its_box(picture: Picture, bends: bool, shifts: bool, seed: int) -> None:
    wanted = Geometry(
        prob=1, persp_horizontal=bends, persp_vertical=bends, transl_horizontal=shifts
    )
    after = transformed(picture, wanted, np.random.default_rng(seed))
    assert after.boxes is not None
    assert after.labels is not None
    assert after.labels.tolist() == [7]
    (box,) = after.boxes
    assert (box >= 0).all()
    assert (box <= np.array([after.size[1], after.size[0]] * 2)).all()
    if (found := blue(after.image)) is None:
        # A thin object may lie between the pixels that are taken.
        assert min(box[2:] - box[:2]) < 2
        return
    outside = np.array([1, 1, -1, -1]) * (box - np.array(found))
    assert outside.max() <= 1
    # Nothing of it was cut away: then the box fits closely.
    inside = (box[:2] > 0).all() and box[2] < after.size[1] and box[3] < after.size[0]
    if inside and not bends:
        assert outside.min() >= -2


@given(
    st.integers(5, 40),
    st.integers(5, 40),
    st.sampled_from(["constant", "mirrored", "repeat_nearest"]),
    st.integers(0, 999),
)
def test_a_mask_is_what_the_image_shows(height: int, width: int, pad_mode: Any, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(5, size=(height, width)).astype(np.uint8)
    wanted = Geometry(prob=1, transl_horizontal=True, transl_vertical=True, pad_mode=pad_mode)
    picture = Picture(mask[..., None] * 50, mask=mask)
    after = transformed(picture, wanted, np.random.default_rng(seed))
    assert after.mask is not None
    assert after.image.shape == picture.image.shape
    assert np.array_equal(after.mask * 50, after.image[..., 0])


@pytest.mark.promise("train.torch.geometry")
def test_each_option_moves_what_it_says() -> None:
    for seed in range(20):
        # One side's corners move apart, by the same part.
        bent = seen(seed, persp_horizontal=True)
        assert not bent[:, 0].any()
        assert sorted(np.abs(bent[:, 1]) > 0) == [False, False, True, True]
        assert np.isclose(bent[:, 1].sum(), 0, atol=1e-6)
        tilted = seen(seed, persp_vertical=True, persp_factor=0.1)
        assert not tilted[:, 1].any()
        assert 0 < np.abs(tilted[:, 0]).max() < 0.1
        nearer = seen(seed, zoom_in=True, zoom_factor=0.4)
        assert 0 < nearer[0, 0] < 0.2
        assert np.allclose(nearer, nearer[0, 0] * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]))
        assert -0.125 < seen(seed, zoom_out=True)[0, 0] < 0
        moved = seen(seed, transl_horizontal=True)
        assert np.allclose(moved, moved[0])
        assert moved[0, 1] == 0
        assert 0 < abs(moved[0, 0]) < 0.5
        assert abs(seen(seed, transl_vertical=True, transl_factor=0.1)[0, 1]) < 0.1


@pytest.mark.promise("train.torch.geometry")
def test_factors_are_uniform_and_sides_and_directions_are_drawn() -> None:
    zooms = np.array(
        [seen(s, zoom_in=True, zoom_out=True, zoom_factor=0.5)[0, 0] for s in range(400)]
    )
    assert 0.4 < (zooms > 0).mean() < 0.6
    assert 0.24 < np.abs(zooms).max() < 0.25
    assert 0.11 < np.abs(zooms).mean() < 0.14
    left = [seen(s, persp_horizontal=True)[0, 1] != 0 for s in range(400)]
    assert 0.4 < np.mean(left) < 0.6
    shifts = [seen(s, transl_vertical=True)[0, 1] for s in range(400)]
    assert -0.5 < min(shifts) < -0.48
    assert 0.48 < max(shifts) < 0.5


@pytest.mark.promise("train.torch.geometry")
@pytest.mark.parametrize(
    ("pad_mode", "border"),
    [
        ("constant", cv2.BORDER_CONSTANT),
        ("mirrored", cv2.BORDER_REFLECT_101),
        ("repeat_nearest", cv2.BORDER_REPLICATE),
    ],
)
def test_what_is_uncovered_is_as_in_an_image_three_times_as_large(
    pad_mode: Any, border: int
) -> None:
    image = np.random.default_rng(0).integers(256, size=(20, 30, 3)).astype(np.uint8)
    large = cv2.copyMakeBorder(image, 19, 19, 29, 29, border)
    # Shifts by whole pixels, so that nothing is rounded.
    wanted = Geometry(prob=1, **STILL, transl_horizontal=True, pad_mode=pad_mode)
    for part in (-0.5, 0.4, 0.1):
        after = transformed(Picture(image), wanted, Always(part))  # type: ignore[arg-type]
        left = 29 + round(part * 30)
        assert np.array_equal(after.image, large[19:39, left : left + 30])


class Always:
    """A chance that always gives the same shift, as a part of the side."""

    def __init__(self, part: float) -> None:
        self._part = part

    def uniform(self, low: float, high: float) -> float:
        """Half of it is the largest shift."""
        return self._part * 2


def shifted(boxes: list[list[int]], part: float, pad_mode: Any = "constant") -> Picture:
    """A picture of 100 x 100, moved to the left by a part of its side; box i has label i + 1."""
    wanted = Geometry(prob=1, **STILL, transl_horizontal=True, pad_mode=pad_mode)
    picture = Picture(
        np.zeros((100, 100, 3), np.uint8),
        boxes=np.array(boxes, np.float32),
        labels=np.arange(1, len(boxes) + 1),
    )
    return transformed(picture, wanted, Always(part))  # type: ignore[arg-type]


@pytest.mark.promise("train.torch.geometry")
def test_boxes_are_kept_where_more_than_three_quarters_are_seen() -> None:
    after = shifted([[5, 10, 45, 30], [15, 10, 95, 40], [40, 50, 60, 70]], 0.3)
    assert after.boxes is not None
    assert after.labels is not None
    # 15 of 40 columns of the first are seen, 65 of 80 of the second.
    assert after.labels.tolist() == [2, 3]
    assert np.allclose(after.boxes, [[0, 10, 65, 40], [10, 50, 30, 70]], atol=1e-3)
    exactly = shifted([[20, 10, 60, 30], [50, 1, 60, 9]], 0.3)
    assert exactly.labels is not None
    assert exactly.labels.tolist() == [2]


@pytest.mark.promise("train.torch.geometry")
def test_a_picture_that_would_lose_all_boxes_stays_as_it_was() -> None:
    after = shifted([[5, 10, 25, 30]], 0.4)
    assert after.boxes is not None
    assert after.boxes.tolist() == [[5, 10, 25, 30]]
    nothing = shifted([], 0.4)
    assert nothing.boxes is not None
    assert len(nothing.boxes) == 0


def test_a_picture_without_boxes_moves() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, 4] = 255
    wanted = Geometry(prob=1, **STILL, transl_horizontal=True)  # type: ignore[arg-type]
    empty = Picture(image, boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))
    after = transformed(empty, wanted, Always(0.2))  # type: ignore[arg-type]
    assert after.image[0, 2].tolist() == [255] * 3
    assert after.boxes is not None
    assert after.boxes.shape == (0, 4)


@pytest.mark.promise("train.torch.geometry")
def test_mirror_images_of_objects_have_boxes() -> None:
    after = shifted([[2, 10, 22, 30]], -0.3, "mirrored")
    assert after.boxes is not None
    assert after.labels is not None
    assert after.labels.tolist() == [1, 1]
    # The pixel at the edge is not repeated: column 0 is now 30, column 2 is at 32 and at 28.
    assert np.allclose(sorted(after.boxes.tolist()), [[9, 10, 29, 30], [32, 10, 52, 30]], atol=1e-3)


@given(boxed())
def test_mirror_images_are_where_a_reflecting_edge_shows_them(picture: Picture) -> None:
    height, width = picture.size
    assert picture.boxes is not None
    assert picture.labels is not None
    large = cv2.copyMakeBorder(
        picture.image, height - 1, height - 1, width - 1, width - 1, cv2.BORDER_REFLECT_101
    )
    boxes, labels = reflections(picture.boxes, picture.labels, height, width)
    assert len(boxes) == len(labels) == 25
    inside = np.zeros(large.shape[:2], bool)
    for left, top, right, bottom in boxes.astype(int):
        rows = slice(max(0, top + height - 1), max(0, bottom + height - 1))
        columns = slice(max(0, left + width - 1), max(0, right + width - 1))
        inside[rows, columns] = True
    assert np.array_equal(inside, large[..., 0] > 100)


def test_objects_behind_the_one_who_looks_have_no_box() -> None:
    wanted = Geometry(prob=1, zoom_in=False, zoom_out=False, persp_factor=1, pad_mode="mirrored")
    for seed in range(60):
        picture = rectangle(40, 40, (12, 12, 28, 28))
        after = transformed(picture, wanted, np.random.default_rng(seed))
        assert after.boxes is not None
        assert np.isfinite(after.boxes).all()
        for left, top, right, bottom in after.boxes.round().astype(int):
            assert right > left
            assert bottom > top
            if (right - left) * (bottom - top) >= 30:
                assert (after.image[top:bottom, left:right, 0] > 100).mean() > 0.4


@pytest.mark.promise("train.torch.geometry")
def test_a_grey_image_keeps_its_channel() -> None:
    after = transformed(
        Picture(np.ones((9, 12, 1), np.uint16)), Geometry(prob=1), np.random.default_rng(0)
    )
    assert after.image.shape == (9, 12, 1)
    assert after.image.dtype == np.uint16
