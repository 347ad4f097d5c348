"""Distortion: ranges of light and colours, their order, and what grey images have none of."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest

from ddstream.api.augment import Augmentation
from ddstream.api.image import ImageInput
from ddstream.connectors.images import distort
from ddstream.connectors.images.augment import Variation
from ddstream.connectors.images.distort import distorted
from ddstream.connectors.images.picture import Picture
from ddstream.data import Array
from ddstream.errors import ParameterError
from tests.connectors.images.pictures import photo

FLAT = np.full((4, 4, 3), (60, 120, 100), np.uint8)
SEEDS = [np.random.default_rng(seed) for seed in range(400)]


def middle(change: Any, image: Array = FLAT) -> Array:
    """The first pixel of what a change makes of a flat image, with many chances."""
    return np.array([change(image, rng)[0, 0] for rng in SEEDS], np.float64)


def hsv(pixels: Array) -> Array:
    """Hue in degrees, saturation and value of BGR pixels."""
    rows = [colorsys.rgb_to_hsv(*(pixel[::-1] / 255)) for pixel in pixels]
    return np.array(rows, np.float64) * (360, 1, 1)


@pytest.mark.promise("train.torch.distort")
def test_brightness_is_shifted_by_32_at_most() -> None:
    added = middle(distort.brightened) - FLAT[0, 0]
    assert np.array_equal(added[:, 0], added[:, 2])
    assert (added.min(), added.max()) == (-32, 32)
    assert -3 < added.mean() < 3
    assert distort.brightened(FLAT + 130, SEEDS[0]).max() <= 255


@pytest.mark.promise("train.torch.distort")
def test_contrast_is_multiplied_by_a_half_to_one_and_a_half() -> None:
    factors = middle(distort.contrasted)[:, 1] / 120
    assert 0.5 <= factors.min() < 0.51
    assert 1.49 < factors.max() <= 1.5
    assert 0.96 < factors.mean() < 1.04


@pytest.mark.promise("train.torch.distort")
def test_saturation_is_multiplied_and_hue_and_value_stay() -> None:
    before, after = hsv(FLAT[0]), hsv(middle(distort.saturated))
    factors = after[:, 1] / before[0, 1]
    assert 0.48 < factors.min() < 0.53
    assert 1.47 < factors.max() < 1.52
    assert np.abs(after[:, 0] - before[0, 0]).max() < 4
    assert np.abs(after[:, 2] - before[0, 2]).max() < 0.01


@pytest.mark.promise("train.torch.distort")
def test_hues_turn_by_36_degrees_at_most() -> None:
    before, after = hsv(FLAT[0]), hsv(middle(distort.tinted))
    turns = after[:, 0] - before[0, 0]
    assert -39 < turns.min() < -33
    assert 33 < turns.max() < 39
    assert np.abs(after[:, 1:] - before[0, 1:]).max() < 0.02
    # Red lies at both ends of the circle.
    red = np.full((1, 1, 3), (0, 0, 200), np.uint8)
    ends = hsv(middle(distort.tinted, red))[:, 0]
    assert ((ends < 40) | (ends > 320)).all()
    assert (ends > 320).any()


@pytest.mark.promise("train.torch.distort")
def test_channels_come_in_any_order() -> None:
    orders = {tuple(pixel) for pixel in middle(distort.shuffled).tolist()}
    assert len(orders) == 6
    assert {tuple(sorted(order)) for order in orders} == {(60, 100, 120)}


@pytest.mark.promise("train.torch.distort")
@pytest.mark.parametrize("colour", [True, False])
def test_contrast_comes_after_brightness_or_after_hue(colour: bool) -> None:
    image = photo(30, 40)[..., ::-1].copy() if colour else photo(30, 40)[..., 0].copy()
    firsts = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first = bool(rng.integers(2))
        names = ["brightened", "saturated", "tinted", "shuffled"]
        names.insert(1 if first else 3, "contrasted")
        expected = image
        for name in names:
            rng.random()
            if colour or name in ("brightened", "contrasted"):
                expected = getattr(distort, name)(expected, rng)
        found = distorted(image, 1.0, np.random.default_rng(seed), colour=colour)
        assert np.array_equal(found, expected)
        firsts.add(first)
    assert firsts == {True, False}


@pytest.mark.promise("train.torch.distort")
def test_each_change_is_drawn_on_its_own() -> None:
    rng = np.random.default_rng(0)
    same = [np.array_equal(distorted(FLAT, 0.2, rng, colour=True), FLAT) for _ in range(400)]
    # None of five is drawn.
    assert abs(np.mean(same) - 0.8**5) < 0.1
    assert distorted(FLAT, 0.0, rng, colour=True) is FLAT


@pytest.mark.promise("train.torch.noise", "train.torch.distort")
@pytest.mark.parametrize("name", ["noise", "distort"])
def test_images_in_rgb_are_varied_as_those_in_bgr(name: str) -> None:
    bgr = photo(24, 24)[..., ::-1].copy()
    wanted = Augmentation.of({name: {"prob": 0.5}})
    for seed in range(10):
        pair = []
        for rgb in (False, True):
            variation, _ = Variation.of(wanted, ImageInput(width=24, height=24, rgb=rgb))
            image = bgr[..., ::-1].copy() if rgb else bgr
            done = variation.picture(Picture(image), np.random.default_rng(seed)).image
            pair.append(done[..., ::-1] if rgb else done)
        assert np.array_equal(pair[0], pair[1])


@pytest.mark.promise("train.torch.noise", "train.torch.distort")
@pytest.mark.parametrize("raw", [{"bw": True}, {"bw": True, "rgb": True}])
def test_grey_images_stay_grey(raw: dict[str, Any]) -> None:
    wanted = Augmentation.of({"noise": {"prob": 1}, "distort": {"prob": 1}})
    variation, _ = Variation.of(
        wanted, ImageInput.model_validate({"width": 24, "height": 24} | raw)
    )
    channels = 3 if raw.get("rgb") else 1
    image = np.repeat(photo(24, 24)[..., :1], channels, axis=2)
    found = variation.picture(Picture(image), np.random.default_rng(0)).image
    assert found.shape == image.shape
    assert not np.array_equal(found, image)
    # Luminance is computed from channels and back: a unit of rounding.
    assert np.ptp(found.astype(int), axis=2).max() <= 3


@pytest.mark.parametrize("name", ["noise", "distort"])
def test_data_that_must_not_change_are_not_distorted(name: str) -> None:
    with pytest.raises(ParameterError, match=rf"parameters\.mllib\.{name} .*unchanged_data"):
        Variation.of(Augmentation.of({name: {"prob": 1}}), ImageInput(unchanged_data=True))
