"""Data sets on disk for the tests of connectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.connectors.image_sets import three_classes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders ant, bee and owl, with four images each."""
    return three_classes(tmp_path)
