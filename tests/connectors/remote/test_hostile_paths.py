"""Hostile paths: each of a long table leads nowhere, also when files are exchanged meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ddstream.connectors.remote.fetch import Fetcher
from ddstream.data import Datum
from ddstream.errors import InputError
from ddstream.roots import Roots
from tests.connectors.remote.hostile import PATHS
from tests.connectors.remote.hostile_ground import (
    PNG,
    SECONDS,
    predicted,
    read,
    refusal,
)


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An allowed folder, the working directory too, with ways out of it and things that wait."""
    root, other = tmp_path / "root", tmp_path / "root-else"
    for folder in (root / "a", other):
        folder.mkdir(parents=True)
    for file in (tmp_path / "secret.png", other / "secret.png", root / "a.png"):
        file.write_bytes(PNG)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    (root / "twice").symlink_to(root / "folder")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    return root


@pytest.mark.parametrize("path", PATHS)
async def test_paths_lead_to_nothing_but_files_below_the_roots(ground: Path, path: str) -> None:
    element = path.replace("{root}", str(ground)).replace("{outside}", str(ground.parent))
    await refusal(element, Roots((ground,)))


async def test_the_file_beside_them_is_read(ground: Path) -> None:
    for element in ("a.png", "./a.png", f"{ground}/a.png", f"file://{ground}/a.png", "a/../a.png"):
        assert await predicted(element, Roots((ground,)))


@pytest.mark.parametrize("path", ["/etc/shadow", "../secret.png", "{root}/link.png"])
async def test_the_refusal_of_a_path_names_the_setting(ground: Path, path: str) -> None:
    text = await refusal(path.replace("{root}", str(ground)), Roots((ground,)))
    assert "DDSTREAM_ROOTS" in text


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/dev/random", "/dev/tty", "/proc/self/environ", "/proc/kmsg", "pipe"]
)
async def test_devices_and_pipes_are_refused_even_where_all_paths_are_allowed(
    ground: Path, path: str
) -> None:
    await refusal(path if path.startswith("/") else str(ground / path))


async def test_a_file_too_long_for_an_image_is_not_read(ground: Path) -> None:
    with (ground / "sparse.png").open("wb") as file:
        file.write(PNG)
        file.truncate(1 << 40)
    assert "too long" in await refusal("sparse.png", Roots((ground,)))


def exchanged_file(ground: Path) -> None:
    (ground / "a.png").unlink()
    (ground / "a.png").symlink_to(ground.parent / "secret.png")


def exchanged_folder(ground: Path) -> None:
    (ground / "a").rename(ground / "b")
    (ground / "a").symlink_to(ground.parent)


def exchanged_for_a_pipe(ground: Path) -> None:
    (ground / "a.png").unlink()
    os.mkfifo(ground / "a.png")


@pytest.mark.parametrize(
    ("name", "exchange"),
    [
        ("a.png", exchanged_file),
        ("a/secret.png", exchanged_folder),
        ("a.png", exchanged_for_a_pipe),
    ],
)
async def test_what_is_exchanged_after_the_check_is_not_read(
    ground: Path, name: str, exchange: Callable[[Path], None]
) -> None:
    (ground / "a" / "secret.png").write_bytes(PNG)
    roots = Roots((ground,))
    async with Fetcher(roots, timeout=5, max_bytes=1 << 20) as fetcher:
        datum: Datum = await fetcher.fetch(name, 0, timeout=-1)
    assert read(datum, roots)
    exchange(ground)
    with pytest.raises(InputError):
        await asyncio.wait_for(asyncio.to_thread(read, datum, roots), SECONDS)
