"""Samples as bytes: what went in comes out, whatever its arrays are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ddstream.connectors.storage.packing import packed, unpacked
from ddstream.data import Sample
from ddstream.errors import InputError
from tests.connectors.images.pictures import photo

DTYPES = [np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64, np.bool_]
ANY_ARRAY = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=3, max_side=9))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def same(one: Any, two: Any) -> bool:
    """Equal, types and shapes of arrays included."""
    if isinstance(one, np.ndarray):
        equal = isinstance(two, np.ndarray) and one.dtype == two.dtype and one.shape == two.shape
        return equal and np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
    if isinstance(one, float):
        return isinstance(two, float) and (one == two or (one != one and two != two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[name], two[name]) for name in one)
    if isinstance(one, tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and bool(one == two)


@settings(max_examples=150, deadline=None)
@given(
    st.text(),
    st.dictionaries(st.text(min_size=1), ANY_ARRAY, min_size=1, max_size=3),
    st.none() | st.integers(0, 999) | ANY_ARRAY | st.dictionaries(st.text(), ANY_ARRAY),
    st.dictionaries(st.text(), JSON | ANY_ARRAY, max_size=3),
)
def test_samples_come_back_as_they_were(
    uri: str, inputs: dict[str, Any], target: Any, meta: dict[str, Any]
) -> None:
    found = unpacked(packed(Sample(uri, inputs, target, meta=meta)))
    assert found.uri == uri
    assert list(found.inputs) == list(inputs)
    assert same(inputs, dict(found.inputs))
    assert same(target, found.target)
    assert same(meta, found.meta)


@pytest.mark.parametrize("channels", [0, 1, 3, 4, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_small_and_exact(channels: int, dtype: Any) -> None:
    shape = (64, 64, channels) if channels else (64, 64)
    image = np.linspace(0, 200, 64 * 64 * max(1, channels)).astype(dtype).reshape(shape)
    content = packed(Sample("x", {"image": image}))
    assert same(unpacked(content).inputs["image"], image)
    # Two channels are no PNG.
    assert (len(content) < image.nbytes / 2) == (channels != 2)


def test_boxes_stay_with_their_image() -> None:
    boxes: dict[str, Any] = {
        "boxes": np.zeros((0, 4), np.float32),
        "labels": np.array([], np.int64),
    }
    found = unpacked(packed(Sample("x", {"image": photo(16, 16)}, boxes)))
    assert same(boxes, found.target)


def test_what_is_read_may_be_written_to() -> None:
    found = unpacked(packed(Sample("x", {"row": np.zeros(3, np.float32)})))
    found.inputs["row"][0] = 1


def test_numbers_of_numpy_are_numbers() -> None:
    meta = {"n": np.int64(3)}
    assert unpacked(packed(Sample("x", {}, meta=meta))).meta == {"n": 3}


@pytest.mark.parametrize("cut", [0, 2, 10, 40, 200])
def test_damaged_bytes_are_refused(cut: int) -> None:
    content = packed(Sample("x", {"image": photo(16, 16)}, 1))
    with pytest.raises(InputError, match="a kept sample cannot be read"):
        unpacked(content[:cut])
    with pytest.raises(InputError, match="a kept sample cannot be read"):
        unpacked(b"\x05\0\0\0[1,2]")
