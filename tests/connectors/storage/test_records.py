"""Records on disk: written once, read by number from any thread, never half there."""

from __future__ import annotations

import gc
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ddstream.connectors.storage.records import Records, Writing
from ddstream.errors import InputError, InternalError


def written(path: Path, *contents: bytes) -> Path:
    """A whole file of records."""
    with Writing(path) as file:
        for content in contents:
            file.add(content)
        file.finish({"name": "x"})
    return path


def test_records_are_read_by_number(tmp_path: Path) -> None:
    contents = [bytes([number]) * (number * 7919) for number in range(40)]
    records = Records(written(tmp_path / "a.lmdb", *contents))
    assert len(records) == 40
    assert [records.read(number) for number in reversed(range(40))] == contents[::-1]
    assert records.about == {"name": "x", "count": 40}
    with pytest.raises(InputError, match="has no record 40"):
        records.read(40)


def test_threads_read_side_by_side(tmp_path: Path) -> None:
    contents = [bytes([number]) * 5000 for number in range(100)]
    records = Records(written(tmp_path / "a.lmdb", *contents))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(records.read, range(100))) == contents


def test_connections_end_with_their_records(tmp_path: Path) -> None:
    records = Records(written(tmp_path / "a.lmdb", b"x"))
    records.read(0)
    del records
    gc.collect()
    # Nothing holds the file any more, so it can be taken away on any system.
    (tmp_path / "a.lmdb").unlink()
    open_files = [each.resolve().name for each in Path("/proc/self/fd").iterdir() if each.exists()]
    assert "a.lmdb" not in open_files


def test_a_file_that_was_not_finished_is_refused(tmp_path: Path) -> None:
    with Writing(tmp_path / "a.lmdb") as file:
        file.add(b"x")
    with pytest.raises(InputError, match=r"a\.lmdb .*remove it"):
        Records(tmp_path / "a.lmdb")


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(100)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.lmdb").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.lmdb .*remove it"):
        Records(tmp_path / "a.lmdb")


def test_other_databases_are_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "a.lmdb")
    database.execute("CREATE TABLE about (content BLOB)")
    database.close()
    with pytest.raises(InputError, match="was not made by this version"):
        Records(tmp_path / "a.lmdb")


def test_a_damaged_file_is_an_input_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.lmdb", *(bytes(9000) for _ in range(100)))
    records = Records(path)
    with path.open("r+b") as file:
        file.truncate(1 << 16)
    with pytest.raises(InputError, match="cannot be read"):
        [records.read(number) for number in range(100)]


def test_a_disk_that_takes_nothing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="could not be written"):
        written(tmp_path / "gone" / "a.lmdb", b"x")
    with Writing(tmp_path / "a.lmdb") as file:
        file._database.execute("PRAGMA max_page_count = 4").close()
        with pytest.raises(InternalError, match=r"could not be written: .*full"):
            file.add(bytes(1 << 20))
