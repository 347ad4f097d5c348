"""Lists of masks: segmentation sets, how masks are read, and how they follow their images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ddstream.data import Array, Dataset, Datum
from ddstream.errors import InputError
from tests.connectors.images.pictures import connector, encoded, pillow
from tests.connectors.images.sets import kept, listed

SHADES = np.array([0, 60, 120, 180], np.uint8)
"""The grey of each class, so that an image shows its mask."""


def classes(height: int = 60, width: int = 80) -> Array:
    """A mask of four classes: regions without symmetry."""
    mask = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (5, 8), (40, 30), 1, -1)
    cv2.circle(mask, (55, 40), 15, 2, -1)
    cv2.fillPoly(mask, [np.array([(0, 59), (30, 59), (10, 35)])], 3)
    return mask


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """A list of one image, whose grey tells the class, and its mask."""
    mask = classes()
    (tmp_path / "image.png").write_bytes(encoded(np.repeat(SHADES[mask][..., None], 3, axis=2)))
    (tmp_path / "mask.png").write_bytes(encoded(mask))
    return listed(tmp_path / "masks.txt", "image.png mask.png")


def target(data: Dataset, seed: int | None = None) -> tuple[Array, Array]:
    """The mask of the first sample, and the mask that its image shows."""
    sample = data.read(0, None if seed is None else np.random.default_rng(seed))
    mask: Any = sample.target
    assert mask.dtype == np.uint8
    assert mask.shape == sample.inputs["image"].shape[:2]
    return mask, (sample.inputs["image"][..., 0].astype(int) + 30) // 60


@pytest.mark.promise(
    "services.input.image.segmentation", "train.input.image.segmentation", "train.data"
)
@pytest.mark.parametrize("where", [{"raw": True}, {"mllib": True}])
def test_a_list_of_masks_gives_the_class_of_each_pixel(masked: Path, where: Any) -> None:
    raw = {"segmentation": True} if where.get("raw") else {}
    mllib = {"nclasses": 4} | ({"segmentation": True} if where.get("mllib") else {})
    data = connector(width=-1, height=-1, **raw).datasets([masked, masked], mllib)
    mask, shown = target(data.train)
    assert np.array_equal(mask, classes())
    assert np.array_equal(mask, shown)
    assert data.train.read(0, None).meta["size"] == (60, 80)


@pytest.mark.promise("train.input.image.segmentation")
@pytest.mark.parametrize(
    "raw",
    [
        {"width": 160, "height": 120},
        {"width": 40, "height": 45},
        {"width": 64, "height": -1, "aspect_ratio_pad": True},
        {"width": 120, "height": 90, "crop_width": 64, "crop_height": 80},
        {"scale_min": 90, "scale_max": 100},
    ],
)
def test_masks_follow_their_image_without_new_classes(masked: Path, raw: dict[str, Any]) -> None:
    options: dict[str, Any] = {"segmentation": True, "interp": "area"} | raw
    mask, shown = target(connector(**options).datasets([masked, masked], {}).train)
    assert set(np.unique(mask)) <= {0, 1, 2, 3}
    # Where regions meet, interpolation makes other greys.
    assert (mask == shown).mean() > 0.93


@pytest.mark.promise("errors.code.1005")
def test_a_class_beyond_their_number_is_refused_with_the_file(masked: Path) -> None:
    made = connector(segmentation=True)
    text = r"Dataset contains an invalid class: 3 in file mask.png \(nclasses=3\)"
    with pytest.raises(InputError, match=text) as refused:
        made.datasets([masked, masked], {"nclasses": 3})
    assert refused.value.status()["dd_code"] == 1005
    assert len(made.datasets([masked, masked], {"nclasses": 4}).train) == 1


def test_a_wrong_mask_far_down_a_list_is_left_to_its_reading(masked: Path) -> None:
    lines = ["image.png mask.png"] * 20 + ["image.png gone.png"]
    listing = listed(masked.parent / "long.txt", *lines)
    data = connector(segmentation=True).datasets([listing, listing], {})
    with pytest.raises(InputError, match=r"Could not open mask file: gone\.png"):
        data.train.read(20, None)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("image.png gone.png", "Could not open mask file: gone.png"),
        ("image.png", "line 1 of .*: a path of an image and one of its mask"),
        ("image.png list.txt", "Could not read image.*list.txt"),
    ],
)
def test_a_wrong_line_is_refused(masked: Path, line: str, text: str) -> None:
    listing = listed(masked.parent / "list.txt", line)
    with pytest.raises(InputError, match=text):
        connector(segmentation=True).datasets([listing, listing], {})


def test_masks_are_read_as_they_are_kept(masked: Path) -> None:
    mask = classes()
    paletted = Image.fromarray(mask)
    # Colours of the PASCAL VOC masks; the tenth is the first one again.
    paletted.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * 18)
    rgb = np.repeat(mask[..., None], 3, axis=2)
    deep = mask.astype(np.uint16)
    files = {
        "palette": pillow_of(paletted),
        "equal": encoded(rgb),
        "deep": encoded(deep),
        "bmp": encoded(mask, ".bmp"),
        "tiff": pillow(mask, "TIFF"),
    }
    for name, content in files.items():
        (masked.parent / name).write_bytes(content)
        listing = listed(masked.parent / "list.txt", f"image.png {name}")
        data = connector(width=80, height=60, segmentation=True).datasets([listing] * 2, {})
        assert np.array_equal(target(data.train)[0], mask), name


def pillow_of(image: Image.Image) -> bytes:
    """The PNG that Pillow writes of an image of its own."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_masks_of_colours_and_of_other_shapes_are_refused(masked: Path) -> None:
    wrong = np.zeros((60, 80, 3), np.uint8)
    wrong[3, 4] = (1, 2, 3)
    (masked.parent / "mask.png").write_bytes(encoded(wrong))
    with pytest.raises(InputError, match="a mask must be grey, or have a palette"):
        connector(segmentation=True).datasets([masked, masked], {})
    (masked.parent / "mask.png").write_bytes(encoded(np.zeros((80, 60), np.uint8)))
    data = connector(segmentation=True).datasets([masked, masked], {})
    with pytest.raises(InputError, match=r"mask\.png is 60 x 80, its image 80 x 60"):
        data.train.read(0, None)
    half = cv2.resize(classes(), (40, 30), interpolation=cv2.INTER_NEAREST)
    (masked.parent / "mask.png").write_bytes(encoded(half))
    mask, shown = target(
        connector(width=80, height=60, segmentation=True).datasets([masked] * 2, {}).train
    )
    assert (mask == shown).mean() > 0.95


def test_kept_masks_are_those_of_the_files(masked: Path, tmp_path: Path) -> None:
    raw: dict[str, Any] = {"segmentation": True, "width": 40, "height": 30}
    disk = kept(tmp_path / "kept", masked, masked, db=True, **raw)
    plain = kept(tmp_path / "plain", masked, masked, **raw)
    assert np.array_equal(target(disk.train)[0], target(plain.train)[0])
    assert np.array_equal(target(disk.train, 3)[0], target(plain.train, 3)[0])


@pytest.mark.promise("train.torch.geometry")
@pytest.mark.parametrize("pad_mode", ["constant", "mirrored", "repeat_nearest"])
def test_masks_move_with_augmented_images(masked: Path, pad_mode: str) -> None:
    geometry = {"prob": 0.8, "pad_mode": pad_mode, "transl_horizontal": True}
    mllib = {"mirror": True, "rotate": True, "crop_size": 56, "geometry": geometry}
    made = connector(width=80, height=60, segmentation=True).datasets([masked, masked], mllib)
    found = set()
    for seed in range(30):
        mask, shown = target(made.train, seed)
        assert np.array_equal(mask, shown)
        found.add(mask.tobytes())
    assert len(found) > 20


@pytest.mark.promise("train.torch.test_crop_samples")
def test_crops_of_test_images_have_their_masks(masked: Path) -> None:
    made = connector(width=80, height=60, segmentation=True)
    data = made.datasets([masked, masked], {"crop_size": 40, "test_crop_samples": 5})
    (test,) = data.tests
    assert len(test) == 5
    crops = [test.read(index, None) for index in range(5)]
    masks: list[Any] = [crop.target for crop in crops]
    assert len({mask.tobytes() for mask in masks}) > 1
    for crop, mask in zip(crops, masks, strict=True):
        assert np.array_equal((crop.inputs["image"][..., 0].astype(int) + 30) // 60, mask)


@pytest.mark.promise("predict.input.image.segmentation")
def test_masks_are_measured_at_predict(masked: Path) -> None:
    made = connector(width=80, height=60, segmentation=True)
    (sample,) = made.labelled(Datum("0", masked), {"nclasses": 4})
    assert np.array_equal(sample.target, classes())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 has no labels: a folder or a list is expected"):
        made.labelled(Datum("0", encoded(classes())), {})


def test_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="segmentation needs a list file"):
        connector(segmentation=True).datasets([folder, folder], {})
