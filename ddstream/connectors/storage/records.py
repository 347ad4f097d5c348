"""Records on disk, read by number: one file, written once.

It is an SQLite database, though the API's files end in `.lmdb`. LMDB, and memory-mapped arrays too,
map a file into memory, so that all that was read counts as resident; the promise of `db` is memory
that does not grow. SQLite reads pages into a cache of fixed size, is part of Python, checks what it
opens, and needs no lock for a file that nobody writes to any more.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from ddstream.errors import InputError, InternalError

_MARK: Final = 0x64647374
"""What the file says that it is (`ddst`), so that no other database is taken for one."""
_PAGE: Final = 1 << 16
"""Bytes of a page: an image or two."""
_CACHE_KIB: Final = 1024
"""Of each connection; there are as many as threads that read at a time."""


class Writing:
    """A file of records that is being written; nobody else sees it before it is whole.

    Use it in a `with`. Raises InternalError where the disk does not take it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        """Records so far."""

    def __enter__(self) -> Writing:
        with _written(self._path):
            self._database = sqlite3.connect(self._path, isolation_level=None)
            for setting in (
                f"page_size = {_PAGE}",
                f"cache_size = -{_CACHE_KIB}",
                f"application_id = {_MARK}",
                # What breaks off is thrown away, so nothing of it has to be safe.
                "journal_mode = OFF",
                "synchronous = OFF",
            ):
                self._database.execute(f"PRAGMA {setting}").close()
            self._database.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, content BLOB)")
            self._database.execute("CREATE TABLE about (content BLOB)")
            self._database.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, content: bytes) -> None:
        """One more record, with the next number."""
        with _written(self._path):
            self._database.execute("INSERT INTO records VALUES (?, ?)", (self.count, content))
        self.count += 1

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write what the records are, and bring all of it to the disk."""
        with _written(self._path):
            content = orjson.dumps({**about, "count": self.count})
            self._database.execute("INSERT INTO about VALUES (?)", (content,))
            self._database.execute("COMMIT")
            self._database.close()
            with self._path.open("rb") as file:
                os.fsync(file.fileno())


class Records:
    """A written file. Its connections are closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Any thread may use a connection, one at a time: a pool, and none a thread.
        self._free: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        weakref.finalize(self, _close, self._free)
        with self._connection() as database:
            (mark,) = database.execute("PRAGMA application_id").fetchone()
            row = (
                database.execute("SELECT content FROM about").fetchone() if mark == _MARK else None
            )
        if row is None:
            raise InputError(f"{path} was not made by this version: remove it")
        self.about: Mapping[str, Any] = orjson.loads(row[0])
        self._count = int(self.about["count"])

    def __len__(self) -> int:
        return self._count

    def read(self, number: int) -> bytes:
        """A record. Raises InputError if it cannot be read; safe for threads."""
        with self._connection() as database:
            found = database.execute("SELECT content FROM records WHERE id = ?", (number,))
            row = found.fetchone()
        if row is None:
            raise InputError(f"{self._path} has no record {number}")
        content: bytes = row[0]
        return content

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._taken()
            try:
                yield database
            finally:
                self._free.put(database)
        except sqlite3.Error as error:
            raise InputError(f"{self._path} cannot be read: {error}; remove it") from error

    def _taken(self) -> sqlite3.Connection:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            # Immutable: no locks, no journal, on any file system.
            address = f"{self._path.resolve().as_uri()}?mode=ro&immutable=1"
            database = sqlite3.connect(address, uri=True, check_same_thread=False)
            database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}").close()
            return database


def _close(free: queue.SimpleQueue[sqlite3.Connection]) -> None:
    while not free.empty():
        free.get_nowait().close()


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise InternalError(f"{path} could not be written: {error}") from error
