"""Scale, mean and std: from the options to the numbers that a model gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddstream.backends.torch.network.first_layer import pixels_to_numbers
from tests.connectors.images.pictures import (
    Stage,
    at_predict,
    at_services,
    at_train,
    encoded,
    photo,
)

PLAIN = {"width": -1, "height": -1, "rgb": True, "mean": 0}


@pytest.mark.promise(
    "services.input.image.scale",
    "services.input.image.mean",
    "services.input.image.mean_2",
    "services.input.image.std",
    "train.input.image.scale",
    "train.input.image.mean",
    "train.input.image.mean_2",
    "train.input.image.std",
    "predict.input.image.mean",
    "predict.input.image.mean_2",
    "predict.input.image.std",
)
@pytest.mark.parametrize("stage", [at_services, at_predict, at_train])
@pytest.mark.parametrize(
    ("raw", "scale", "mean", "std"),
    [
        ({}, 1, 0, 1),
        ({"scale": 0.0039}, 0.0039, 0, 1),
        ({"mean": 128}, 1, 128, 1),
        ({"std": 64}, 1, 0, 64),
        ({"mean": [104, 117.5, 123]}, 1, [104, 117.5, 123], 1),
        ({"std": [50, 60, 70]}, 1, 0, [50, 60, 70]),
        ({"scale": 0.5, "mean": [1, 2, 3], "std": 4}, 0.5, [1, 2, 3], 4),
    ],
)
def test_a_model_gets_pixels_times_scale_minus_mean_over_std(
    stage: Stage, raw: dict[str, Any], scale: Any, mean: Any, std: Any, tmp_path: Path
) -> None:
    sample = stage(tmp_path, encoded(photo()), PLAIN | raw)
    pixels = torch.from_numpy(sample.inputs["image"][None])
    numbers = pixels_to_numbers(pixels, sample.normalise, torch.float32, 3)
    expected = (photo() * scale - np.array(mean)) / np.array(std)
    assert sample.inputs["image"].dtype == np.uint8
    assert np.allclose(numbers[0].permute(1, 2, 0).numpy(), expected, atol=1e-4)
