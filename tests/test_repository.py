"""What lies in a model's folder may have been written, or removed, by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddstream.errors import ParameterError
from ddstream.repository import Repository


@pytest.mark.parametrize("content", [b"0 caf\xe9\n", b"4000000000 far\n"])
def test_names_that_no_training_wrote_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "corresp.txt").write_bytes(content)
    with pytest.raises(ParameterError, match=r"corresp\.txt"):
        Repository(tmp_path).classes()


def test_lines_without_a_number_name_no_class(tmp_path: Path) -> None:
    (tmp_path / "corresp.txt").write_text("0 cat\n² dog\nfish\n٣ bird\n")
    assert Repository(tmp_path).classes() == ["cat"]


@pytest.mark.parametrize("mode", ["lib", "full", "dir", "mem"])
def test_a_folder_that_is_gone_is_cleared(tmp_path: Path, mode: str) -> None:
    Repository(tmp_path / "gone").clear(mode)
    assert not (tmp_path / "gone").exists()
