"""The features task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Sample
from ddstream.errors import ParameterError
from ddstream.tasks.features import Features
from tests.tasks.tallies import tallied


def test_a_layer_is_flattened_row_by_row_into_doubles() -> None:
    layer = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3))
    rows = Features().activate({OUTPUT: layer})
    found = Features().decode(rows[0], Sample("a.png", {}), OutputParameters())
    assert found == {"uri": "a.png", "classes": [], "vals": [float(i) for i in range(12)]}


def test_features_have_no_measures() -> None:
    assert not Features().knows("acc")
    with pytest.raises(ParameterError, match="features have no measures"):
        tallied(Features(), np.zeros((1, 2)), [0], ["acc"])


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("binarized", [0.0, 1.0, 0.0]),
        ("bool_binarized", [False, True, False]),
        ("string_binarized", "010"),
    ],
)
def test_features_are_told_by_their_signs(form: str, values: Any) -> None:
    row = np.array([-0.5, 0.25, 0.0], np.float32)
    output = OutputParameters.model_validate({form: True})
    assert Features().decode(row, Sample("a.png", {}), output)["vals"] == values
    with pytest.raises(ValidationError, match="exclude each other"):
        OutputParameters(binarized=True, bool_binarized=True, string_binarized=True)
