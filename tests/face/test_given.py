"""What a Python caller gives as parameters becomes what JSON would have carried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.errors import BadRequest
from ddstream.face.given import native


def test_paths_are_text_and_numbers_of_numpy_are_numbers() -> None:
    given = {"a": Path("/x"), "b": np.float32(0.5), "c": [np.int64(3)], "d": np.arange(2), 5: None}
    assert native(given, "") == {"a": "/x", "b": 0.5, "c": [3], "d": [0, 1], "5": None}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (10**30, r"parameters.input.width is an integer of more than 64 bits"),
        (object(), r"parameters.input.width is a object"),
        (b"7", r"parameters.input.width is a bytes"),
        ({1, 2}, r"parameters.input.width is a set"),
        ("\ud800", r"parameters.input.width is no text"),
        ([1, [2**63]], r"parameters.input.width.1.0 is an integer"),
    ],
)
def test_what_json_has_no_word_for_is_refused_by_its_name(value: Any, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        native({"parameters": {"input": {"width": value}}}, "")


def test_what_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(BadRequest, match="nested more than"):
        native(endless, "parameters")
