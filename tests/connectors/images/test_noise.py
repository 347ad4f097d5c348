"""Noise: each effect against another implementation of it, and the order and chance of all."""

from __future__ import annotations

import colorsys
from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage  # type: ignore[import-untyped]
from skimage import color

from ddstream.connectors.images import noise
from ddstream.connectors.images.noise import noisy
from ddstream.data import Array
from tests.connectors.images.pictures import grey_photo, photo

RNG = np.random.default_rng(0)
BGR = photo(60, 80)[..., ::-1].copy()
GREY = grey_photo()[200:260, 200:280].copy()


def near(found: Array, expected: Array, most: float = 1.01) -> None:
    """No value differs by more than rounding does."""
    assert np.abs(found.astype(float) - expected).max() <= most


def test_grey_has_the_luminance_in_all_channels() -> None:
    expected = BGR @ np.array([0.114, 0.587, 0.299])
    found = noise.grey(BGR, RNG)
    near(found, np.repeat(expected[..., None], 3, axis=2))


def test_blur_is_a_gaussian_of_seven_pixels() -> None:
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    expected = BGR.astype(float)
    for axis in (0, 1):
        # `mirror` of SciPy is the edge that OpenCV calls reflect 101.
        expected = ndimage.correlate1d(expected, taps, axis=axis, mode="mirror")
    near(noise.blurred(BGR, RNG), expected, 1.5)


@pytest.mark.parametrize("effect", [noise.equalised, noise.locally_equalised])
def test_equalisation_spreads_the_luminance(effect: noise.Effect) -> None:
    dark = BGR // 4 + 40
    found = effect(dark, RNG)
    assert np.std(found.mean(axis=2)) > 1.3 * np.std(dark.mean(axis=2))
    hues = (cv2.cvtColor(each, cv2.COLOR_BGR2YCrCb)[..., 1].astype(int) for each in (dark, found))
    first, second = hues
    assert np.abs(first - second).mean() < 6


def test_equalisation_in_parts_has_a_limit_of_four() -> None:
    expected = cv2.createCLAHE(4.0, (8, 8)).apply(GREY)
    assert np.array_equal(noise.locally_equalised(GREY, RNG), expected)


def test_files_of_any_quality_are_written() -> None:
    errors = [
        np.abs(noise.compressed(BGR, np.random.default_rng(seed)).astype(int) - BGR).mean()
        for seed in range(40)
    ]
    assert min(errors) < 4
    assert max(errors) > 12
    assert len({round(error, 3) for error in errors}) > 20


def test_erosion_takes_the_darkest_of_nine() -> None:
    expected = ndimage.grey_erosion(BGR, size=(3, 3, 1), mode="nearest")
    assert np.array_equal(noise.eroded(BGR, RNG), expected)


def test_posterising_leaves_four_levels() -> None:
    found = noise.posterised(BGR, RNG)
    assert set(np.unique(found)) == {32, 96, 160, 224}
    assert np.abs(found.astype(int) - BGR).max() <= 32


def test_a_negative() -> None:
    assert np.array_equal(noise.inverted(BGR, RNG), 255 - BGR)


@pytest.mark.parametrize("image", [BGR, GREY], ids=["colour", "grey"])
def test_a_tenth_of_the_pixels_is_salt_or_pepper(image: Array) -> None:
    plain = np.clip(image, 1, 254)
    found = noise.speckled(plain, np.random.default_rng(0))
    changed = (found != plain).reshape(*found.shape[:2], -1)
    # A pixel has all of its channels or none.
    assert np.array_equal(changed.any(axis=2), changed.all(axis=2))
    assert 0.085 < changed.any(axis=2).mean() < 0.115
    values = found.reshape(*found.shape[:2], -1)[..., 0][changed.any(axis=2)]
    assert set(values.tolist()) == {0, 255}
    assert 0.4 < (values == 0).mean() < 0.6


def test_hsv_stands_in_the_place_of_the_colours() -> None:
    found = noise.as_hsv(BGR, RNG).astype(float)
    for row, column in ((3, 4), (30, 50), (59, 0)):
        blue, green, red = BGR[row, column] / 255
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        expected = np.array([hue * 180, saturation * 255, value * 255])
        assert np.abs(found[row, column] - expected).max() <= 1


def test_lab_stands_in_the_place_of_the_colours() -> None:
    lab = color.rgb2lab(BGR[..., ::-1])
    expected = lab * np.array([2.55, 1, 1]) + np.array([0, 128, 128])
    near(noise.as_lab(BGR, RNG), expected, 3)


ORDER = [
    *("grey", "blurred", "equalised", "locally_equalised", "compressed", "eroded"),
    *("posterised", "inverted", "speckled", "as_hsv", "as_lab"),
]
NEED_COLOURS = {"grey", "equalised", "compressed", "as_hsv", "as_lab"}


@pytest.mark.promise("train.torch.noise")
@pytest.mark.parametrize("colour", [True, False])
def test_effects_come_one_after_the_other(colour: bool) -> None:
    image = BGR if colour else GREY
    rng = np.random.default_rng(5)
    expected = image
    for name in ORDER:
        rng.random()
        if colour or name not in NEED_COLOURS:
            expected = getattr(noise, name)(expected, rng)
    found = noisy(image, 1.0, np.random.default_rng(5), colour=colour)
    assert np.array_equal(found, expected)
    assert found.shape == image.shape


@pytest.mark.promise("train.torch.noise")
def test_each_effect_is_drawn_on_its_own() -> None:
    rng = np.random.default_rng(0)
    found = [noisy(GREY, 0.3, rng, colour=False) for _ in range(400)]
    negatives = [np.corrcoef(each.ravel(), GREY.ravel())[0, 1] < 0 for each in found]
    # Four levels, and with speckles black and white.
    levels = [len(np.unique(each)) <= 6 for each in found]
    assert 0.22 < np.mean(negatives) < 0.38
    assert 0.22 < np.mean(levels) < 0.38
    both = np.logical_and(negatives, levels)
    assert 0.04 < np.mean(both) < 0.14
    assert noisy(GREY, 0.0, rng, colour=True) is GREY


@pytest.mark.promise("train.torch.noise")
def test_all_effects_take_any_size() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (2, 9), (1, 1, 3), (9, 2, 3)):
        image: Any = rng.integers(256, size=shape).astype(np.uint8)
        found = noisy(image, 1.0, rng, colour=len(shape) == 3)
        assert found.shape == shape
        assert found.dtype == np.uint8
