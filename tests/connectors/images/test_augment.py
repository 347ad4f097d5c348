"""Augmentation of pixels: each variation does what it says, on real pixels, by a seeded chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.api.augment import Augmentation
from ddstream.api.image import ImageInput
from ddstream.connectors.images.augment import Variation, cropped, cutout
from ddstream.connectors.images.picture import Picture
from ddstream.data import Array
from ddstream.errors import ParameterError
from tests.connectors.images.pictures import grey_photo, photo

SQUARE = photo(120, 120)
ONE_CHANNEL = grey_photo()[:120, :120, None]
IMAGES = pytest.mark.parametrize("image", [SQUARE, ONE_CHANNEL], ids=["colour", "grey"])


def variations(image: Array, count: int = 400, **wanted: object) -> list[Array]:
    rng = np.random.default_rng(0)
    height, width = image.shape[:2]
    size = ImageInput(height=height, width=width, bw=image.shape[2] == 1, rgb=image.shape[2] == 3)
    variation, _ = Variation.of(Augmentation.of(wanted), size)
    return [variation.picture(Picture(image), rng).image for _ in range(count)]


@IMAGES
def test_mirror_exchanges_left_and_right(image: Array) -> None:
    assert np.array_equal(Picture(image).mirrored().image, image[:, ::-1])


@IMAGES
@pytest.mark.parametrize("turns", range(4))
def test_rotate_turns_counter_clockwise(image: Array, turns: int) -> None:
    assert np.array_equal(Picture(image).turned(turns).image, np.rot90(image, turns))


@pytest.mark.promise("train.torch.mirror")
@IMAGES
def test_half_of_the_images_are_mirrored(image: Array) -> None:
    found = variations(image, mirror=True)
    mirrored = sum(np.array_equal(each, image[:, ::-1]) for each in found)
    kept = sum(np.array_equal(each, image) for each in found)
    assert mirrored + kept == len(found)
    assert 0.4 < mirrored / len(found) < 0.6


@pytest.mark.promise("train.torch.rotate")
@IMAGES
def test_each_quarter_turn_is_as_likely_as_the_others(image: Array) -> None:
    found = variations(image, rotate=True)
    turns = [sum(np.array_equal(each, np.rot90(image, n)) for each in found) for n in range(4)]
    assert sum(turns) == len(found)
    assert min(turns) > 70


@pytest.mark.promise("train.torch.crop_size")
def test_crops_are_squares_from_everywhere_in_the_image() -> None:
    image = photo(40, 60)
    places = {
        next(
            (top, left)
            for top in range(9)
            for left in range(29)
            if np.array_equal(each, image[top : top + 32, left : left + 32])
        )
        for each in variations(image, crop_size=32)
    }
    assert {top for top, _ in places} == set(range(9))
    assert {left for _, left in places} == set(range(29))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_crop_fits_or_is_refused(height: int, width: int, side: int, seed: int) -> None:
    image, rng = photo(height, width), np.random.default_rng(seed)
    if side <= min(height, width):
        square = cropped(Picture(image), side, rng).image
        assert square.shape == (side, side, 3)
        assert square.flags["C_CONTIGUOUS"]
    else:
        with pytest.raises(ParameterError, match=f"crop_size {side} is larger"):
            cropped(Picture(image), side, rng)


@pytest.mark.promise("train.torch.cutout")
def test_cutout_puts_noise_into_a_rectangle_of_the_documented_size() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    rng = np.random.default_rng(0)
    areas, values = [], []
    for _ in range(300):
        rows, columns = np.nonzero(cutout(image, rng).any(axis=2))
        high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        areas.append(high * wide / 10_000)
        assert 0.25 < high / wide < 3.6
        values.append(cutout(image, rng).max())
    assert 0.01 < min(areas) < 0.06
    assert 0.34 < max(areas) <= 0.42
    assert max(values) == 255
    assert not image.any()


@pytest.mark.promise("train.torch.cutout")
def test_cutout_is_a_probability() -> None:
    found = variations(SQUARE, cutout=0.25)
    changed = sum(not np.array_equal(each, SQUARE) for each in found)
    assert 0.18 < changed / len(found) < 0.32
    assert not any(np.array_equal(each, SQUARE) for each in variations(SQUARE, 50, cutout=1.0))


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 99))
def test_cutout_works_on_images_of_any_size(height: int, width: int, seed: int) -> None:
    image = photo(height, width)
    assert cutout(image, np.random.default_rng(seed)).shape == image.shape


def test_nothing_asked_for_changes_nothing() -> None:
    assert variations(SQUARE, 1)[0] is SQUARE


def test_equal_generators_give_equal_variations() -> None:
    everything = {
        "mirror": True,
        "rotate": True,
        "crop_size": 64,
        "cutout": 0.5,
        "geometry": {"prob": 0.5},
        "noise": {"prob": 0.2},
        "distort": {"prob": 0.5},
    }
    first, second = (variations(SQUARE, 20, **everything) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.promise("train.torch.geometry", "train.torch.noise", "train.torch.distort")
@pytest.mark.parametrize("name", ["geometry", "noise", "distort"])
@pytest.mark.parametrize("prob", [{}, {"prob": 1.5}, {"prob": "often"}])
def test_a_probability_is_mandatory(name: str, prob: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=rf"parameters\.mllib\.{name}\.prob") as refused:
        Augmentation.of({name: prob})
    assert refused.value.status()["dd_code"] == 1006


@pytest.mark.parametrize(
    "wrong",
    [
        {"mirror": 1},
        {"cutout": 1.5},
        {"test_crop_samples": 0},
        {"crop_size": "big"},
        {"geometry": {"prob": 1, "pad_mode": "blurred"}},
        {"geometry": {"prob": 1, "zoom_factor": 1}},
        {"noise": True},
    ],
)
def test_wrong_types_and_values_are_refused_by_name(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ParameterError, match=rf"parameters\.mllib\.{name}"):
        Augmentation.of(wrong)
