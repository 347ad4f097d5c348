"""Pictures: boxes and masks stay with what they are of, however the image is moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.api.augment import Augmentation
from ddstream.api.image import ImageInput
from ddstream.connectors.images.augment import Variation
from ddstream.connectors.images.picture import Picture
from ddstream.data import Array
from ddstream.errors import ParameterError

BLUE = (200, 0, 0)


@st.composite
def boxed(draw: st.DrawFn) -> Picture:
    """A black picture with a blue rectangle, and its box."""
    height, width = draw(st.integers(8, 40)), draw(st.integers(8, 40))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return rectangle(height, width, (left, top, right, bottom))


def rectangle(height: int, width: int, box: tuple[int, int, int, int]) -> Picture:
    """A black picture with a blue rectangle at a box."""
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = BLUE
    return Picture(image, boxes=np.array([box], np.float32), labels=np.array([7]))


def blue(image: Array) -> list[float] | None:
    """The smallest box around all that is blue; None if nothing is."""
    rows, columns = np.nonzero(image[..., 0] > 100)
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


MOVES = st.lists(
    st.one_of(
        st.just(("mirror", 0, 0, 0)),
        st.tuples(st.just("turn"), st.integers(0, 3), st.just(0), st.just(0)),
        st.tuples(st.just("cut"), st.integers(0, 99), st.integers(0, 99), st.integers(4, 40)),
    ),
    max_size=5,
)


def moved(picture: Picture, moves: list[tuple[str, int, int, int]]) -> Picture:
    """The picture after each of the moves; a cut is made to fit."""
    for kind, first, second, side in moves:
        if kind == "mirror":
            picture = picture.mirrored()
        elif kind == "turn":
            picture = picture.turned(first)
        else:
            height, width = picture.size
            side = min(side, height, width)
            picture = picture.cut(first % (height - side + 1), second % (width - side + 1), side)
    return picture


@given(boxed(), MOVES)
def test_a_box_is_where_its_object_is_after_any_moves(
    picture: Picture, moves: list[tuple[str, int, int, int]]
) -> None:
    after = moved(picture, moves)
    assert after.boxes is not None
    assert after.labels is not None
    assert after.boxes.dtype == np.float32
    found = blue(after.image)
    assert after.boxes.tolist() == ([] if found is None else [found])
    assert after.labels.tolist() == ([] if found is None else [7])


@given(st.integers(4, 30), st.integers(4, 30), MOVES, st.integers(0, 9))
def test_a_mask_is_what_the_image_shows_after_any_moves(
    height: int, width: int, moves: list[tuple[str, int, int, int]], seed: int
) -> None:
    mask = np.random.default_rng(seed).integers(5, size=(height, width)).astype(np.uint8)
    after = moved(Picture(mask[..., None] * 50, mask=mask), moves)
    assert after.mask is not None
    assert np.array_equal(after.mask * 50, after.image[..., 0])


@pytest.mark.promise("train.torch.mirror", "train.torch.rotate", "train.torch.crop_size")
def test_golden_boxes() -> None:
    picture = rectangle(30, 40, (5, 6, 15, 26))

    def boxes(moved: Picture) -> list[Any]:
        assert moved.boxes is not None
        return list(moved.boxes.tolist())

    # xmin' = W - xmax.
    assert boxes(picture.mirrored()) == [[25, 6, 35, 26]]
    # Counter-clockwise: what was at the right is above.
    assert boxes(picture.turned(1)) == [[6, 25, 26, 35]]
    assert boxes(picture.turned(2)) == [[25, 4, 35, 24]]
    assert boxes(picture.turned(3)) == [[4, 5, 24, 15]]
    assert boxes(picture.cut(0, 10, 20)) == [[0, 6, 5, 20]]
    # An image that shows no object has no box, and no dummy either.
    assert boxes(picture.cut(0, 20, 20)) == []


@pytest.mark.promise("train.torch.geometry")
@given(boxed(), st.booleans(), st.booleans(), st.integers(0, 8), st.integers(0, 999))
@settings(max_examples=150)
def test_an_object_stays_in_its_box_whatever_is_asked_for(
    picture: Picture, mirror: bool, shifts: bool, crop: int, seed: int
) -> None:
    geometry = {"prob": 0.8, "transl_horizontal": shifts, "transl_vertical": shifts}
    mllib = {"mirror": mirror, "rotate": True, "crop_size": crop, "geometry": geometry}
    height, width = picture.size
    variation, _ = Variation.of(Augmentation.of(mllib), ImageInput(height=height, width=width))
    after = variation.picture(picture, np.random.default_rng(seed))
    assert after.boxes is not None
    assert after.labels is not None
    assert after.labels.tolist() == [7] * len(after.boxes)
    found = blue(after.image)
    if not len(after.boxes):
        assert found is None
        return
    ((left, top, right, bottom),) = after.boxes.tolist()
    assert 0 <= left < right <= after.size[1]
    assert 0 <= top < bottom <= after.size[0]
    if found is not None:
        assert found[0] >= left - 1
        assert found[1] >= top - 1
        assert found[2] <= right + 1
        assert found[3] <= bottom + 1


def test_a_cut_drops_labels_with_their_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [5, 5, 8, 8], [9, 0, 12, 3]], np.float32)
    picture = Picture(np.zeros((12, 12, 3), np.uint8), boxes=boxes, labels=np.array([1, 2, 3]))
    after = picture.cut(2, 2, 10)
    assert after.labels is not None
    assert after.labels.tolist() == [2, 3]
    with pytest.raises(ParameterError, match="crop_size 13"):
        picture.cut(0, 0, 13)


@pytest.mark.promise("train.torch.noise", "train.torch.distort", "train.torch.cutout")
@pytest.mark.parametrize("mllib", [{"noise": {"prob": 1}}, {"distort": {"prob": 1}}, {"cutout": 1}])
def test_what_changes_pixels_alone_leaves_boxes_and_masks(mllib: dict[str, Any]) -> None:
    variation, _ = Variation.of(Augmentation.of(mllib), ImageInput(width=40, height=30))
    picture = rectangle(30, 40, (5, 6, 15, 26))
    masked = Picture(picture.image, mask=picture.image[..., 0])
    rng = np.random.default_rng(0)
    one, two = variation.picture(picture, rng), variation.picture(masked, rng)
    assert (one.boxes is picture.boxes, one.labels is picture.labels) == (True, True)
    assert two.mask is masked.mask
    assert not np.array_equal(one.image, picture.image)
    assert not np.array_equal(two.image, picture.image)


@pytest.mark.promise("train.torch.rotate")
def test_boxes_are_turned_before_and_masks_after_they_are_bent() -> None:
    wanted = Augmentation.of({"rotate": True, "mirror": True, "geometry": {"prob": 1}})
    variation, _ = Variation.of(wanted, ImageInput(width=32, height=32))
    picture = rectangle(32, 32, (2, 4, 20, 12))
    order = []
    for kind in (picture, Picture(picture.image)):
        chances = Recorder()
        variation.picture(kind, chances)  # type: ignore[arg-type]
        order.append(chances.asked)
    # Chance is asked for the mirror, the turns, and (first for a box) of the geometry.
    assert order[0][:3] == ["random", "integers", "random"]
    assert order[1][0] == "random"
    assert order[1][-2:] == ["random", "integers"]


class Recorder:
    """A generator that tells what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._rng = np.random.default_rng(1)

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._rng, name)
