"""Pixels become PNG files that decode to the same pixels."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ddstream.api.predict import PredictRequest
from ddstream.connectors.encode import encode_png, request_body
from ddstream.data import Array

RNG = np.random.default_rng(7)


def decoded(content: bytes) -> Array:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


def test_grey_rgb_and_rgba_pixels_come_back() -> None:
    grey = RNG.integers(0, 256, (5, 7), np.uint8)
    assert (decoded(encode_png(grey)) == grey).all()
    rgb = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    assert (decoded(encode_png(rgb))[..., ::-1] == rgb).all()
    rgba = RNG.integers(0, 256, (5, 7, 4), np.uint8)
    assert (decoded(encode_png(rgba))[..., [2, 1, 0, 3]] == rgba).all()


def test_a_view_into_a_larger_array_is_an_image_too() -> None:
    frames = RNG.integers(0, 256, (2, 6, 8, 3), np.uint8)
    view = frames[1, ::2, ::-1]
    assert (decoded(encode_png(view))[..., ::-1] == view).all()


def test_bytes_of_a_text_travel_as_such() -> None:
    data = ["a", "/etc/hosts é".encode(), b"\xff\xd8", b"\0"]
    sent = json.loads(request_body(PredictRequest(service="s", data=data)))["data"]
    assert sent == ["a", "data:text/plain;base64,L2V0Yy9ob3N0cyDDqQ==", "/9g=", "AA=="]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_other_arrays_are_no_images(pixels: Array) -> None:
    with pytest.raises(TypeError):
        encode_png(pixels)
