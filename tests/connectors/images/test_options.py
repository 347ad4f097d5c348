"""Every option of the image connector, at creation, at predict and at training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.api.image import ImageInput
from ddstream.connectors.images.resize import resized
from ddstream.data import Array
from ddstream.errors import InputError
from tests.connectors.images.pictures import (
    Stage,
    at_predict,
    at_services,
    at_train,
    connector,
    encoded,
    grey_photo,
    photo,
    pixels_of,
    read_one,
)

CREATED_OR_TRAINED = pytest.mark.parametrize("stage", [at_services, at_train])
EVERYWHERE = pytest.mark.parametrize("stage", [at_services, at_predict, at_train])


@pytest.mark.promise(
    "services.input.image.width",
    "services.input.image.height",
    "predict.input.image.width",
    "predict.input.image.height",
    "train.input.image.width",
    "train.input.image.height",
)
@EVERYWHERE
def test_images_get_the_width_and_height_asked_for(stage: Stage, tmp_path: Path) -> None:
    pixels = stage(tmp_path, encoded(photo()), {"width": 48, "height": 40, "rgb": True}).inputs[
        "image"
    ]
    expected = cv2.resize(photo(), (48, 40), interpolation=cv2.INTER_CUBIC)
    assert pixels.shape == (40, 48, 3)
    assert np.array_equal(pixels, expected)


@pytest.mark.promise(
    "services.input.image.width",
    "services.input.image.height",
    "predict.input.image.width",
    "predict.input.image.height",
    "train.input.image.width",
    "train.input.image.height",
)
def test_width_and_height_are_227_when_not_given() -> None:
    assert pixels_of(encoded(photo())).shape == (227, 227, 3)
    assert connector().describe() == {"width": 227, "height": 227}


@pytest.mark.promise("services.input.image.bw", "predict.input.image.bw", "train.input.image.bw")
@EVERYWHERE
def test_bw_gives_one_grey_channel(stage: Stage, tmp_path: Path) -> None:
    raw = {"bw": True, "rgb": False, "width": -1, "height": -1}
    pixels = stage(tmp_path, encoded(photo()), raw).inputs["image"]
    grey = cv2.cvtColor(photo(), cv2.COLOR_RGB2GRAY)
    assert pixels.shape == (120, 160, 1)
    assert np.abs(pixels[..., 0].astype(int) - grey).max() <= 1


@pytest.mark.promise("services.input.image.rgb", "train.input.image.rgb")
@CREATED_OR_TRAINED
def test_channels_are_bgr_and_with_rgb_red_comes_first(stage: Stage, tmp_path: Path) -> None:
    native = {"width": -1, "height": -1}
    content = encoded(photo())
    plain = stage(tmp_path / "plain", content, native)
    rgb = stage(tmp_path / "rgb", content, native | {"rgb": True})
    assert np.array_equal(plain.inputs["image"], photo()[..., ::-1])
    assert np.array_equal(rgb.inputs["image"], photo())


def test_bw_with_rgb_gives_three_equal_channels() -> None:
    pixels = pixels_of(encoded(photo()), bw=True, rgb=True)
    assert pixels.shape == (227, 227, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.promise(
    "services.input.image.histogram_equalization", "train.input.image.histogram_equalization"
)
@CREATED_OR_TRAINED
def test_equalisation_spreads_grey_values_evenly(stage: Stage, tmp_path: Path) -> None:
    dark = grey_photo() // 4
    raw = {"width": -1, "height": -1, "bw": True, "histogram_equalization": True}
    pixels = stage(tmp_path, encoded(dark), raw).inputs["image"][..., 0]
    part_below = np.searchsorted(np.sort(dark, axis=None), dark, side="right") / dark.size
    assert np.abs(pixels / 255.0 - part_below).max() < 0.02


@pytest.mark.promise("services.input.image.histogram_equalization")
@pytest.mark.parametrize("rgb", [True, False])
def test_equalisation_of_colours_changes_their_luminance_only(rgb: bool) -> None:
    dull = photo() // 3
    pixels = pixels_of(encoded(dull), width=-1, height=-1, rgb=rgb, histogram_equalization=True)
    to_luminance = cv2.COLOR_RGB2YCrCb if rgb else cv2.COLOR_BGR2YCrCb
    before = cv2.cvtColor(dull, cv2.COLOR_RGB2YCrCb).astype(int)
    after = cv2.cvtColor(pixels, to_luminance).astype(int)
    assert after[..., 0].max() > 240 > before[..., 0].max()
    unclipped = (pixels > 0).all(axis=2) & (pixels < 255).all(axis=2)
    assert np.abs(after - before)[unclipped][:, 1:].max() <= 3


def test_equalisation_acts_on_the_uniform_channel_of_bw_with_rgb() -> None:
    pixels = pixels_of(encoded(photo() // 4), bw=True, rgb=True, histogram_equalization=True)
    assert pixels.max() == 255


@pytest.mark.promise("services.input.image.unchanged_data")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_unchanged_data_keeps_depth_and_values(dtype: type, tmp_path: Path) -> None:
    spectrogram: Array = (grey_photo().astype(np.float64) * 3.7).astype(dtype)
    pixels = pixels_of(encoded(spectrogram, ".tiff"), unchanged_data=True, width=-1, height=-1)
    assert pixels.dtype == dtype
    assert np.array_equal(pixels[..., 0], spectrogram)
    small = pixels_of(encoded(spectrogram, ".tiff"), unchanged_data=True, width=100, height=90)
    assert small.shape == (90, 100, 1)
    assert np.isin(small, spectrogram).all()


@pytest.mark.promise("services.input.image.unchanged_data")
def test_unchanged_data_keeps_transparency() -> None:
    picture = np.dstack([photo(), np.arange(160, dtype=np.uint8)[None].repeat(120, axis=0)])
    stored = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))[1].tobytes()
    native = {"unchanged_data": True, "width": -1, "height": -1}
    assert np.array_equal(pixels_of(stored, **native, rgb=True), picture)
    assert np.array_equal(pixels_of(stored, **native), picture[..., [2, 1, 0, 3]])
    assert pixels_of(stored).shape == (227, 227, 3)


def test_unchanged_data_of_other_depths_becomes_float32() -> None:
    signed = grey_photo().astype(np.int16) - 128
    pixels = pixels_of(encoded(signed, ".tiff"), unchanged_data=True, width=-1, height=-1)
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels[..., 0], signed)


@pytest.mark.parametrize("other", ["bw", "histogram_equalization"])
def test_unchanged_data_refuses_what_would_change_it(other: str) -> None:
    with pytest.raises(InputError, match="unchanged_data"):
        connector(**{"unchanged_data": True, other: True})


@pytest.mark.promise("predict.input.image.interp")
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("cubic", cv2.INTER_CUBIC),
        ("linear", cv2.INTER_LINEAR),
        ("nearest", cv2.INTER_NEAREST),
        ("lanczos4", cv2.INTER_LANCZOS4),
        ("area", cv2.INTER_AREA),
        ("something else", cv2.INTER_CUBIC),
    ],
)
def test_interp_chooses_the_interpolation(name: str, method: int, tmp_path: Path) -> None:
    raw = {"interp": name, "width": 61, "height": 45, "rgb": True}
    pixels = at_predict(tmp_path, encoded(photo()), raw).inputs["image"]
    assert np.array_equal(pixels, cv2.resize(photo(), (61, 45), interpolation=method))


def test_an_unknown_interp_is_warned_of() -> None:
    (warning,) = connector(interp="spline").parameters.unknown("parameters.input")
    assert "spline" in warning
    assert connector(interp="area").parameters.unknown("parameters.input") == []


@pytest.mark.promise("predict.input.image.crop_width", "predict.input.image.crop_height")
@pytest.mark.parametrize(("wide", "high"), [(40, 20), (40, 0), (0, 20), (160, 120), (33, 21)])
def test_the_centre_is_cropped_after_resizing(wide: int, high: int, tmp_path: Path) -> None:
    raw = {"width": 160, "height": 120, "rgb": True, "crop_width": wide, "crop_height": high}
    pixels = at_predict(tmp_path, encoded(photo()), raw).inputs["image"]
    wide, high = wide or 160, high or 120
    top, left = (120 - high) // 2, (160 - wide) // 2
    assert np.array_equal(pixels, photo()[top : top + high, left : left + wide])
    assert pixels.flags["C_CONTIGUOUS"]


@pytest.mark.promise("predict.input.image.crop_width", "predict.input.image.crop_height")
@pytest.mark.parametrize("side", ["width", "height"])
def test_a_crop_larger_than_the_image_is_refused(side: str) -> None:
    text = f"rop {side} must be less than or equal to {side}"
    with pytest.raises(InputError, match=text):
        connector(**{f"crop_{side}": 300})
    with pytest.raises(InputError, match="does not fit an image of 160 x 120"):
        pixels_of(encoded(photo()), **{f"crop_{side}": 300, side: -1, other(side): -1})


def other(side: str) -> str:
    return "height" if side == "width" else "width"


def test_one_free_size_makes_the_longest_side_that_long() -> None:
    content = encoded(photo(120, 160))
    assert pixels_of(content, width=80, height=-1).shape == (60, 80, 3)
    assert pixels_of(content, width=-1, height=80).shape == (60, 80, 3)
    assert pixels_of(content, width=-1, height=-1).shape == (120, 160, 3)


@pytest.mark.promise("connectors.image.aspect_ratio_pad")
@pytest.mark.parametrize("size", [{"width": 80, "height": -1}, {"width": -1, "height": 80}])
def test_aspect_ratio_pad_centres_the_image_in_a_black_square(size: dict[str, int]) -> None:
    pixels = pixels_of(encoded(photo(120, 160)), **size, aspect_ratio_pad=True, rgb=True)
    assert pixels.shape == (80, 80, 3)
    assert not pixels[:10].any()
    assert not pixels[70:].any()
    expected = cv2.resize(photo(120, 160), (80, 60), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(pixels[10:70], expected)


def test_aspect_ratio_pad_without_a_free_size_is_warned_of() -> None:
    made = connector(width=80, height=80, aspect_ratio_pad=True)
    assert "aspect_ratio_pad" in made.parameters.unknown("parameters.input")[0]
    assert pixels_of(encoded(photo()), width=80, height=80, aspect_ratio_pad=True).shape[:2] == (
        80,
        80,
    )


@pytest.mark.promise(
    "services.input.image.scale_min",
    "services.input.image.scale_max",
    "train.input.image.scale_min",
    "train.input.image.scale_max",
    "train.input.image.scale_min_2",
    "train.input.image.scale_max_2",
)
@CREATED_OR_TRAINED
@pytest.mark.parametrize(
    ("raw", "shape"),
    [
        ({"scale_min": 60}, (60, 80, 3)),
        ({"scale_max": 100}, (75, 100, 3)),
        ({"scale_min": 60, "scale_max": 70}, (52, 70, 3)),
        ({"scaled": True}, (600, 800, 3)),
    ],
)
def test_scale_min_and_max_bound_the_sides_and_keep_the_aspect(
    stage: Stage, raw: dict[str, Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    sample = stage(tmp_path, encoded(photo(120, 160)), {"width": 10, "height": 10, **raw})
    assert sample.inputs["image"].shape == shape


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 900), st.integers(1, 900))
def test_min_and_max_scaling_reaches_one_bound_and_passes_none(
    height: int, width: int, shorter: int, longer: int
) -> None:
    wanted = ImageInput.parse({"scale_min": shorter, "scale_max": longer}, "", InputError)
    high, wide = resized(height, width, wanted)
    assert min(high, wide) <= shorter or min(height, width) == 1
    assert max(high, wide) <= longer or min(high, wide) == 1
    assert max(high, wide) == longer or min(high, wide) == shorter


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 900))
def test_a_free_size_never_vanishes(height: int, width: int, side: int) -> None:
    wanted = ImageInput.parse({"width": side, "height": -1}, "", InputError)
    high, wide = resized(height, width, wanted)
    assert max(high, wide) == side
    assert min(high, wide) >= 1


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"mean": [1, 2]}, r"mean vector be of size the number of channels \(3\)"),
        ({"std": [1, 2, 3, 4]}, r"std vector be of size the number of channels \(3\)"),
        ({"mean": [1, 2, 3], "bw": True}, r"\(1\)"),
        ({"std": -1}, "std must be above 0"),
        ({"scale": "big"}, "could not read double value for scale input parameter"),
        ({"width": 0}, "width must be -1 or at least 1"),
        ({"height": -2}, "height must be -1 or at least 1"),
        ({"width": "224"}, r"parameters\.input\.width"),
    ],
)
def test_impossible_options_are_refused_by_name(raw: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text) as refused:
        connector(**raw)
    assert refused.value.status()["dd_code"] == 1005


def test_mean_of_unchanged_data_is_checked_against_the_channels_of_the_file() -> None:
    raw = {"unchanged_data": True, "mean": [1, 2, 3]}
    assert pixels_of(encoded(photo()), **raw).shape[2] == 3
    with pytest.raises(InputError, match=r"number of channels \(1\)"):
        pixels_of(encoded(grey_photo()), **raw)


@pytest.mark.promise("predict.input.image.cuda")
def test_cuda_resizes_on_a_gpu_or_is_refused_by_name_where_there_is_none() -> None:
    if cv2.cuda.getCudaEnabledDeviceCount():
        assert pixels_of(encoded(photo()), cuda=True, width=20, height=30).shape == (30, 20, 3)
        return
    with pytest.raises(InputError, match=r"parameters\.input\.cuda is not supported") as refused:
        connector(cuda=True)
    assert refused.value.status()["dd_code"] == 1005


def test_the_size_of_the_original_is_told() -> None:
    assert read_one(encoded(photo(120, 160)), width=50, height=50).meta["size"] == (120, 160)


@pytest.mark.parametrize("rgb", [True, False])
def test_keep_orig_keeps_the_original_in_rgb(rgb: bool) -> None:
    sample = read_one(encoded(photo()), width=20, height=20, keep_orig=True, rgb=rgb)
    assert np.array_equal(sample.meta["original"], photo())
    assert "original" not in read_one(encoded(photo())).meta


def test_the_model_input_size_is_described() -> None:
    assert connector(width=300, height=-1).describe() == {"width": 300, "height": -1}
    cropped = connector(width=300, height=300, crop_width=224, crop_height=200)
    assert cropped.describe() == {"width": 224, "height": 200}
