"""`output.test_predictions` of a training: samples whose predictions each test shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ddstream.api.parameters import Integers, ParameterObject

NAME = "test_predictions"


class Showing(ParameterObject):
    """Which samples of the test sets are shown, and what of their predictions (contract 5.2)."""

    enabled: bool = Field(default=True, description="Show predictions.")
    indices: dict[str, Integers] = Field(
        default_factory=dict, description="Numbers of samples by test set: test0, test1..."
    )
    sample_count: int = Field(
        default=4, ge=0, le=64, description="Samples of each set without indices, drawn by chance."
    )
    sample_seed: int = Field(default=0, ge=0, description="Seed of that chance.")
    confidence_threshold: float = Field(
        default=0.0, description="Only what is strictly above this probability; 0 shows all."
    )
    best: int = Field(default=1, ge=-1, description="Classes a sample, as in `output`; -1: all.")
    best_bbox: int = Field(default=-1, ge=-1, description="Boxes an image; -1 or 0: all.")


def showing(value: Any) -> Any:
    """A bare yes or no as the object, or as nothing."""
    if isinstance(value, bool):
        return {} if value else None
    return value


def asked_for(output: Mapping[str, Any]) -> bool:
    """Whether a query for a job wants the predictions: any value but a no."""
    return output.get(NAME) not in (None, False)
