"""What the image connector reads, and what it refuses: formats, frames, damage, sizes, folders."""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddstream.connectors.images.connector import ImageConnector
from ddstream.connectors.protocol import Limits
from ddstream.data import Array, Datum
from ddstream.errors import InputError
from ddstream.repository import Repository
from ddstream.roots import Roots
from tests.connectors.images.pictures import (
    SHIPPED,
    connector,
    encoded,
    grey_photo,
    photo,
    pillow,
    pixels_of,
    several_frames,
)

UNREADABLE = "Could not read image(s): image could not be read or does not exist: "
NATIVE = {"width": -1, "height": -1, "rgb": True}

LOSSLESS = {
    "png": encoded(photo()),
    "bmp": encoded(photo(), ".bmp"),
    "tiff": encoded(photo(), ".tiff"),
    "tiff, uncompressed": pillow(photo(), "TIFF"),
    "tiff, big": pillow(photo(), "TIFF", big_tiff=True),
    "webp": encoded(photo(), ".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "ppm": encoded(photo(), ".ppm"),
}
LOSSY = {
    "jpeg": encoded(photo(), ".jpg"),
    "jpeg, progressive": pillow(photo(), "JPEG", progressive=True, quality=90),
    "webp, lossy": encoded(photo(), ".webp", cv2.IMWRITE_WEBP_QUALITY, 90),
    "gif": pillow(photo(), "GIF"),
    "jpeg 2000": encoded(photo(), ".jp2"),
    "avif": encoded(photo(), ".avif"),
}
FORMATS = LOSSLESS | LOSSY


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_are_read_to_the_bit(kind: str) -> None:
    assert np.array_equal(pixels_of(LOSSLESS[kind], **NATIVE), photo())


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_formats_are_read_closely(kind: str) -> None:
    difference = pixels_of(LOSSY[kind], **NATIVE).astype(int) - photo()
    assert np.abs(difference).mean() < 12


@pytest.mark.promise("errors.code.1005")
@pytest.mark.parametrize("kind", FORMATS)
@given(part=st.floats(0, 0.999))
@settings(max_examples=20, deadline=None)
def test_a_truncated_file_is_refused_with_its_uri(kind: str, part: float) -> None:
    whole = FORMATS[kind]
    # The last byte of a TIFF, an AVIF or a GIF may be padding, or an end mark nobody needs.
    cut = whole[: min(int(len(whole) * part), len(whole) - 8)]
    with pytest.raises(InputError) as refused:
        list(connector(**NATIVE).read(Datum("some/uri", cut)))
    assert refused.value.detail.startswith(UNREADABLE + "some/uri")
    assert refused.value.status()["dd_code"] == 1005


def test_a_jpeg_without_its_end_is_refused_though_it_has_a_whole_thumbnail() -> None:
    thumbnail = encoded(photo(12, 16), ".jpg")
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = encoded(photo(), ".jpg")
    with_thumbnail = whole[:2] + exif + whole[2:]
    assert pixels_of(with_thumbnail, **NATIVE).shape == (120, 160, 3)
    with pytest.raises(InputError, match="truncated"):
        pixels_of(with_thumbnail[:-2], **NATIVE)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    assert pixels_of(encoded(photo(), ".jpg") + b"\0" * 64, **NATIVE).shape == (120, 160, 3)


@pytest.mark.parametrize("content", [b"", b"\0", b"no image at all", b"\xff\xd8\xff", b"GIF89a"])
def test_bytes_that_are_no_image_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="Could not read image"):
        pixels_of(content)


@given(st.sampled_from(sorted(FORMATS)), st.data())
@settings(max_examples=300, deadline=None)
def test_damage_gives_an_image_or_a_refusal_and_nothing_else(
    kind: str, draw: st.DataObject
) -> None:
    content = bytearray(FORMATS[kind])
    for _ in range(draw.draw(st.integers(1, 6))):
        place = draw.draw(st.integers(0, min(len(content) - 1, 600)))
        content[place] = draw.draw(st.integers(0, 255))
    with suppress(InputError):
        assert pixels_of(bytes(content), max_pixels=1_000_000).shape == (227, 227, 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_a_file_of_several_frames_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="several frames"):
        pixels_of(several_frames(kind))


@pytest.mark.parametrize(
    "name", ["no_time_for_that_tiny.gif", "multipage.tif", "multipage_rgb.tif"]
)
def test_real_animations_and_multipage_scans_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="several frames"):
        pixels_of(SHIPPED / name)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_one_frame_in_a_format_that_could_hold_more_is_an_image(kind: str) -> None:
    assert pixels_of(pillow(photo(), kind, save_all=True), **NATIVE).shape == (120, 160, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_with_too_many_pixels_is_refused(kind: str) -> None:
    assert pixels_of(FORMATS[kind], max_pixels=160 * 120, width=9, height=9).shape == (9, 9, 3)
    with pytest.raises(InputError, match=r"160 x 120 is more than .*DDSTREAM_MAX_PIXELS"):
        pixels_of(FORMATS[kind], max_pixels=160 * 120 - 1, width=9, height=9)


def test_the_header_alone_refuses_a_huge_image() -> None:
    claim = bytearray(encoded(photo()))
    claim[16:24] = (200_000).to_bytes(4, "big") * 2
    with pytest.raises(InputError, match="200000 x 200000"):
        pixels_of(bytes(claim))


@pytest.mark.parametrize(
    "raw",
    [{"width": 2000, "height": 2000}, {"width": 2000, "height": -1, "aspect_ratio_pad": True}],
)
def test_a_resized_image_with_too_many_pixels_is_refused(raw: dict[str, int]) -> None:
    with pytest.raises(InputError, match="2000 x 2000 is more than"):
        pixels_of(encoded(photo()), max_pixels=1_000_000, **raw)


@pytest.mark.parametrize("turned", [False, True])
def test_exif_orientation_is_applied(turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = pillow(photo(), "JPEG", quality=95)
    content = pillow(photo(), "JPEG", quality=95, exif=exif) if turned else upright
    expected = (
        np.rot90(pixels_of(upright, **NATIVE), -1) if turned else pixels_of(upright, **NATIVE)
    )
    assert np.array_equal(pixels_of(content, **NATIVE), expected)
    stored = pixels_of(content, **NATIVE, unchanged_data=True)
    assert np.array_equal(stored, pixels_of(upright, **NATIVE))


@pytest.mark.promise("predict.base64", "predict.data")
@pytest.mark.parametrize("kind", FORMATS)
def test_base64_is_read_like_the_bytes(kind: str) -> None:
    text = base64.b64encode(FORMATS[kind]).decode()
    assert np.array_equal(pixels_of(text), pixels_of(FORMATS[kind]))


@pytest.mark.promise("predict.base64")
def test_a_data_uri_is_read_like_the_bytes() -> None:
    text = "data:image/png;base64," + base64.b64encode(encoded(photo())).decode()
    assert np.array_equal(pixels_of(text, **NATIVE), photo())
    with pytest.raises(InputError, match="must be in base64"):
        pixels_of("data:image/svg+xml,<svg/>")


@pytest.mark.promise("predict.base64")
def test_base64_of_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="Could not read image"):
        pixels_of(base64.b64encode(b"some text" * 1000).decode())
    whole = base64.b64encode(encoded(photo())).decode()
    with pytest.raises(InputError, match="Could not read image"):
        pixels_of(whole[:100] + "*" + whole[101:])


@pytest.mark.parametrize("name", ["no/such/file.jpg", "nosuchfolder/nosuchfile", "a" * 300])
def test_a_missing_path_is_refused_with_its_first_200_characters(name: str) -> None:
    with pytest.raises(InputError) as refused:
        pixels_of(name)
    assert refused.value.detail == UNREADABLE + name[:200]


@pytest.mark.parametrize("rgb", [True, False])
@pytest.mark.parametrize(
    "array", [photo(), np.dstack([photo(), photo()[..., 0]]), grey_photo(), grey_photo()[..., None]]
)
def test_arrays_are_taken_as_rgb(array: Array, rgb: bool) -> None:
    pixels = pixels_of(array, width=-1, height=-1, rgb=rgb)
    colours = array[..., :3] if array.ndim == 3 else array[..., None]
    expected = np.broadcast_to(colours, (*array.shape[:2], 3))
    assert np.array_equal(pixels, expected if rgb else expected[..., ::-1])


def test_arrays_can_be_read_as_grey_and_unchanged() -> None:
    grey = pixels_of(photo(), width=-1, height=-1, bw=True)
    assert np.array_equal(grey[..., 0], cv2.cvtColor(photo(), cv2.COLOR_RGB2GRAY))
    four = np.dstack([photo(), photo()[..., 0]])
    kept = pixels_of(four, width=-1, height=-1, unchanged_data=True)
    assert np.array_equal(kept, four[..., [2, 1, 0, 3]])


@pytest.mark.parametrize(
    "array",
    [photo().astype(np.float32), photo()[..., :2], photo()[None], np.zeros((0, 5, 3), np.uint8)],
)
def test_other_arrays_are_refused(array: Array) -> None:
    with pytest.raises(InputError, match="array"):
        pixels_of(array)


def write_folder(folder: Path) -> dict[str, Array]:
    """Files of a folder by their relative names, in sorted order."""
    names = ["a.png", "cats/b.png", "cats/deep/c.png", "dogs/d.png"]
    pictures = {name: np.roll(photo(), 7 * number, axis=0) for number, name in enumerate(names)}
    for name, pixels in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(pixels))
    return pictures


def test_a_folder_gives_one_sample_a_file_named_by_its_path(tmp_path: Path) -> None:
    pictures = write_folder(tmp_path)
    (tmp_path / ".hidden").write_text("no image")
    (tmp_path / "cats" / ".cache").mkdir()
    (tmp_path / "cats" / "deep" / "again").symlink_to(tmp_path / "cats")
    samples = list(connector(**NATIVE).read(Datum("asked/for", tmp_path)))
    assert [sample.uri for sample in samples] == [f"asked/for/{name}" for name in pictures]
    for sample, pixels in zip(samples, pictures.values(), strict=True):
        assert np.array_equal(sample.inputs["image"], pixels)


def test_a_folder_named_by_url_gives_plain_paths(tmp_path: Path) -> None:
    write_folder(tmp_path)
    samples = list(connector().read(Datum(f"file://{tmp_path}", tmp_path)))
    assert samples[0].uri == str(tmp_path / "a.png")


def test_a_file_in_a_folder_that_is_no_image_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"here/cats/notes\.txt"):
        list(connector().read(Datum("here", tmp_path)))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image could be found"):
        list(connector().read(Datum("here", tmp_path)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match="Could not read image"):
        pixels_of(tmp_path / "pipe.jpg")


def test_a_symlink_that_leaves_the_roots_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    write_folder(inside)
    write_folder(outside)
    (inside / "link.png").symlink_to(outside / "a.png")
    made = ImageConnector({}, Repository(tmp_path), Limits(Roots((inside,))))
    with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
        list(made.read(Datum("inside", inside)))


@pytest.mark.promise("services.input.image.root_folder")
def test_relative_paths_start_at_the_root_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images")
    (tmp_path / "a.png").write_bytes(encoded(grey_photo()))
    monkeypatch.chdir(tmp_path)
    rooted = connector(root_folder=str(tmp_path / "images"), **NATIVE)
    (sample,) = rooted.read(Datum("a.png", tmp_path / "a.png"))
    assert sample.meta["size"] == (120, 160)
    assert [each.uri for each in rooted.read(Datum("0", "cats"))] == [
        "cats/b.png",
        "cats/deep/c.png",
    ]
    (sample,) = rooted.read(Datum(str(tmp_path / "a.png"), tmp_path / "a.png"))
    assert sample.meta["size"] == (512, 512)


def test_a_root_folder_outside_the_roots_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "images")
    limits = Limits(Roots((tmp_path / "elsewhere",)))
    made = ImageConnector({"root_folder": str(tmp_path / "images")}, Repository(tmp_path), limits)
    for name in ("a.png", "missing.png"):
        with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
            list(made.read(Datum("0", name)))
