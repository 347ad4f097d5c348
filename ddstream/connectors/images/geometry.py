"""Geometry: a picture seen in perspective, nearer or farther, or from one side (contract 5.7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from ddstream.api.augment import Geometry
from ddstream.connectors.images.boxes import clipped
from ddstream.connectors.images.picture import Picture
from ddstream.data import Array

_BORDERS: Final = {
    "constant": cv2.BORDER_CONSTANT,
    "mirrored": cv2.BORDER_REFLECT_101,
    "repeat_nearest": cv2.BORDER_REPLICATE,
}
_VISIBLE: Final = 0.75
"""A box is kept if more than this part of the hull of its warped corners is in the image."""
_TO_CORNERS: Final = np.array([(1, 0, 0.5), (0, 1, 0.5), (0, 0, 1)])
_TO_CENTRES: Final = np.array([(1, 0, -0.5), (0, 1, -0.5), (0, 0, 1)])
"""OpenCV counts from the centre of the upper left pixel, boxes from its corner."""
_HORIZON: Final = 1e-6
"""Corners whose homogeneous coordinate is not above this lie behind the one who looks."""


def transformed(picture: Picture, wanted: Geometry, rng: np.random.Generator) -> Picture:
    """The picture as a random quadrilateral around it shows it; as it was if no box would stay."""
    height, width = picture.size
    seen = quadrilateral(height, width, wanted, rng)
    whole = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(seen, whole)
    boxes, labels = picture.boxes, picture.labels
    if boxes is not None and labels is not None and len(boxes):
        if wanted.pad_mode == "mirrored":
            boxes, labels = reflections(boxes, labels, height, width)
        kept, warped = warped_boxes(boxes, matrix, height, width)
        if not kept.any():
            return picture
        boxes, labels = warped[kept], labels[kept]
    border = _BORDERS[wanted.pad_mode]
    mask = None if picture.mask is None else _warped(picture.mask, matrix, border)
    return replace(
        picture,
        image=_warped(picture.image, matrix, border),
        mask=mask,
        boxes=boxes,
        labels=labels,
    )


def quadrilateral(height: int, width: int, wanted: Geometry, rng: np.random.Generator) -> Array:
    """The corners that are seen, from the upper left one clockwise: float32 4 x 2, x and y.

    They may lie outside the image.
    """
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    if grows := _zoom(wanted, rng):
        corners = (corners - 0.5) * (1 + grows) + 0.5
    # A side whose corners move apart shows more, so that what is there looks farther away.
    for asked, sides, axis in (
        (wanted.persp_horizontal, ((0, 3), (1, 2)), 1),
        (wanted.persp_vertical, ((0, 1), (3, 2)), 0),
    ):
        if asked:
            first, second = sides[int(rng.integers(2))]
            moved = rng.uniform(0, wanted.persp_factor)
            corners[first, axis] -= moved
            corners[second, axis] += moved
    for asked, axis in ((wanted.transl_horizontal, 0), (wanted.transl_vertical, 1)):
        if asked:
            corners[:, axis] += rng.uniform(-1, 1) * wanted.transl_factor
    return (corners * (width, height)).astype(np.float32)


def _zoom(wanted: Geometry, rng: np.random.Generator) -> float:
    """By which part what is seen grows; below 0 it shrinks."""
    if not (wanted.zoom_in or wanted.zoom_out):
        return 0.0
    nearer = bool(rng.integers(2)) if wanted.zoom_in and wanted.zoom_out else wanted.zoom_in
    part = float(rng.uniform(0, wanted.zoom_factor))
    return -part if nearer else part


def warped_boxes(boxes: Array, matrix: Array, height: int, width: int) -> tuple[Array, Array]:
    """Which boxes are seen well enough, and the hulls of all, cut at the edges of the image."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    homogeneous = np.concatenate([corners, np.ones((len(boxes), 4, 1))], axis=2) @ matrix.T
    depth = homogeneous[..., 2:]
    before = (depth > _HORIZON).all(axis=(1, 2))
    placed = homogeneous[..., :2] / np.where(depth > _HORIZON, depth, 1)
    hulls = np.concatenate([placed.min(axis=1), placed.max(axis=1)], axis=1)
    some, cut = clipped(hulls, height, width)
    kept = before & some & (_area(cut) > _VISIBLE * _area(hulls))
    return kept, cut.astype(np.float32)


def reflections(boxes: Array, labels: Array, height: int, width: int) -> tuple[Array, Array]:
    """Boxes with their mirror images in the tiles around an image that reflects at its edges.

    The pixels at the edge are not repeated, so that the one before the first is the second.
    """
    for axis, size in ((0, width), (1, height)):
        if size > 1:
            period = 2 * (size - 1)
            flipped = boxes.copy()
            flipped[:, [axis, axis + 2]] = 1 - boxes[:, [axis + 2, axis]]
            shift = np.zeros(4, boxes.dtype)
            shift[[axis, axis + 2]] = period
            tiles = [flipped, flipped + shift, boxes - shift, boxes + shift]
            boxes, labels = np.concatenate([boxes, *tiles]), np.tile(labels, 1 + len(tiles))
    return boxes, labels


def _warped(image: Array, matrix: Array, border: int) -> Array:
    height, width = image.shape[:2]
    centred = _TO_CENTRES @ matrix @ _TO_CORNERS
    done = cv2.warpPerspective(
        image, centred, (width, height), flags=cv2.INTER_NEAREST, borderMode=border
    )
    return done.reshape(image.shape)


def _area(boxes: Array) -> Array:
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    area: Array = width * height
    return area
