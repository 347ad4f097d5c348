"""The scenes that detectors and segmenters learn from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from examples.scenes import Scenes, made, write_scenes


def test_boxes_enclose_the_pixels_of_their_masks(tmp_path: Path) -> None:
    scenes = Scenes(train=4, test=2, side=64)
    files = write_scenes(tmp_path, scenes)
    for with_boxes, with_masks in zip(files.boxes, files.masks, strict=True):
        pairs = zip(
            with_boxes.read_text().splitlines(), with_masks.read_text().splitlines(), strict=True
        )
        for boxes, masks in pairs:
            rows = np.loadtxt(boxes.split()[1], dtype=int, ndmin=2)
            mask = cv2.imread(masks.split()[1], cv2.IMREAD_GRAYSCALE)
            image = cv2.imread(boxes.split()[0])
            assert mask is not None
            assert image is not None
            assert image.shape == (64, 64, 3)
            outside = mask.copy()
            for label, left, top, right, bottom in rows:
                assert (mask[top:bottom, left:right] == label).any()
                outside[top:bottom, left:right] = 0
            assert not outside.any()
            assert set(np.unique(mask)) == {0, *rows[:, 0]}


def test_a_seed_makes_the_same_scenes_and_another_one_others() -> None:
    scenes = Scenes(train=3, test=1, side=48)
    first, again = made("train", scenes), made("train", scenes)
    assert all((a.image == b.image).all() for a, b in zip(first, again, strict=True))
    other = made("train", Scenes(train=3, test=1, side=48, seed=1))
    assert any((a.image != b.image).any() for a, b in zip(first, other, strict=True))
