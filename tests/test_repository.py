"""What lies in a model's folder may have been written, or removed, by others."""

from __future__ import annotations

import os
import stat
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


def test_files_have_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    repository = Repository.open(tmp_path)
    before = os.umask(0o027)
    try:
        repository.write("small", b"1")
        with repository.building("large") as path:
            path.write_bytes(b"2")
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == {"small": 0o640, "large": 0o640}
