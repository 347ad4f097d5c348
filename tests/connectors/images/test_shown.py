"""What a sample shows of its original: who answers boxes or maps asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Datum
from ddstream.repository import Repository


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"width": 30, "height": 30}, (0, 0, 80, 40)),
        ({"width": -1, "height": -1}, (0, 0, 80, 40)),
        ({"scale_min": 20, "scale_max": 100}, (0, 0, 80, 40)),
        ({"width": 20, "height": -1, "aspect_ratio_pad": True}, (0, -20, 80, 60)),
        ({"width": 40, "height": 40, "crop_width": 20, "crop_height": 30}, (20, 5, 60, 35)),
    ],
)
def test_a_sample_says_what_it_shows_of_its_original(
    options: dict[str, Any], shown: tuple[int, ...], tmp_path: Path
) -> None:
    connector = ImageConnector(options, Repository.open(tmp_path / "model", create=True))
    (sample,) = connector.read(Datum("a", np.zeros((40, 80, 3), np.uint8)))
    assert sample.meta["size"] == (40, 80)
    assert sample.meta["shown"] == pytest.approx(shown)
