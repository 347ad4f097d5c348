"""JSON from outside is parsed strictly and bounded in depth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.api.incoming import MAX_DEPTH, loads
from ddstream.errors import BadRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES)
def test_json_is_what_it_says(value: Any) -> None:
    text = json.dumps(value).encode()
    assert loads(text) == value
    assert loads(memoryview(text)) == value


@pytest.mark.parametrize(
    "content", [b"", b" ", b"{", b"{'a':1}", b"NaN", b'"\xff"', b'"\\ud800"', b"\xef\xbb\xbf{}"]
)
def test_what_is_no_json_is_a_bad_request(content: bytes) -> None:
    with pytest.raises(BadRequest, match="JSON"):
        loads(content)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> bytes:
        return opening * depth + b"1" + closing * depth

    loads(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 500, 5_000):
        with pytest.raises(BadRequest):
            loads(nested(depth))


def test_many_brackets_are_not_many_levels() -> None:
    assert loads(b"[" + b"[1]," * 500 + b"[2]]")[-1] == [2]
    assert loads(b'["' + b"[{" * 500 + b'"]') == ["[{" * 500]
