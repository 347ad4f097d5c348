"""Targets of another task than the model's are refused, and not taken for its own."""

from __future__ import annotations

import numpy as np
import pytest

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives import OBJECTIVES
from ddstream.data import Sample, Target
from ddstream.errors import InputError

BOXES: Target = {"boxes": np.zeros((1, 4), np.float32), "labels": np.ones(1, np.int64)}
MASK = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("purpose", "target", "text"),
    [
        ("ctc", 1, "the data have no texts"),
        ("ctc", MASK, "the data have no texts"),
        ("segmentation", 1, "the data have no masks"),
        ("segmentation", np.ones(3, np.int64), "the data have no masks"),
        ("segmentation", BOXES, "u has no target"),
        ("ctc", BOXES, "u has no target"),
        ("detection", 1, "u has no boxes"),
        ("detection", MASK, "u has no boxes"),
        ("classification", BOXES, "u has no target"),
    ],
)
def test_targets_of_another_task_are_refused(purpose: str, target: Target, text: str) -> None:
    objective = OBJECTIVES.load(purpose)(TorchParameters(nclasses=2))
    with pytest.raises(InputError, match=text) as refused:
        objective.targets([Sample("u", {}, target), Sample("u", {}, target)])
    assert refused.value.status()["dd_code"] == 1005
