"""Objects of a real S3 service as data: what is read, and what is refused."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.registry import _registry
from pydantic import ValidationError

from ddstream.connectors.remote.fetch import Fetcher
from ddstream.connectors.remote.objects import ObjectStores
from ddstream.data import Datum
from ddstream.errors import InputError
from ddstream.roots import ANYWHERE, Roots
from ddstream.settings import Settings
from tests.connectors.images.pictures import connector, encoded, photo
from tests.connectors.remote.s3 import BUCKET, s3_environment, s3_server

PNG = encoded(photo())
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of S3, to which the standard variables point."""
    for name, value in s3_environment(s3_url).items():
        monkeypatch.setenv(name, value)
    return s3_url


@pytest.fixture
async def stores(s3: str) -> AsyncIterator[ObjectStores]:
    stores = ObjectStores(("s3",))
    yield stores
    await stores.close()


async def put(stores: ObjectStores, key: str, content: bytes) -> str:
    url = f"s3://{BUCKET}/{key}"
    await stores.write(url, content, seconds=30)
    return url


async def fetched(
    element: str, *, seconds: float = -1, schemes: tuple[str, ...] = ("s3",)
) -> Datum:
    async with Fetcher(ANYWHERE, timeout=30, max_bytes=LIMIT, stores=schemes) as fetcher:
        return await fetcher.fetch(element, 3, timeout=seconds)


@pytest.mark.parametrize("key", ["cat.png", "a/b/c d.png", "a?b#c%20d.png", "../é*[1].png"])
async def test_an_image_is_read_from_s3_by_its_exact_key(stores: ObjectStores, key: str) -> None:
    url = await put(stores, key, PNG)
    datum = await fetched(url)
    assert datum.uri == url
    assert datum.content == PNG
    (sample,) = connector(width=-1, height=-1, rgb=True).read(datum)
    assert np.array_equal(sample.inputs["image"], photo())


async def test_what_was_written_anew_is_read_anew(stores: ObjectStores) -> None:
    url = await put(stores, "x", b"first")
    async with Fetcher(ANYWHERE, timeout=30, max_bytes=LIMIT, stores=("s3",)) as fetcher:
        assert (await fetcher.fetch(url, 0, timeout=-1)).content == b"first"
        await put(stores, "x", b"second, and longer")
        assert (await fetcher.fetch(url, 0, timeout=-1)).content == b"second, and longer"


async def test_an_empty_object_is_empty(stores: ObjectStores) -> None:
    assert (await fetched(await put(stores, "empty", b""))).content == b""


async def test_an_object_of_the_limit_is_read_and_one_over_it_is_not(stores: ObjectStores) -> None:
    assert (await fetched(await put(stores, "full", bytes(LIMIT)))).content == bytes(LIMIT)
    over = await put(stores, "over", bytes(LIMIT + 1))
    with pytest.raises(InputError, match="1048577 bytes, the limit is 1048576") as refused:
        await fetched(over)
    assert refused.value.severity == "permanent"


async def test_what_is_not_there_is_said_and_is_permanent(stores: ObjectStores) -> None:
    await put(stores, "folder/file", b"1")
    for url in (f"s3://{BUCKET}/none", "s3://no-such-bucket/x", f"s3://{BUCKET}/folder"):
        with pytest.raises(InputError, match="there is no such object") as refused:
            await fetched(url)
        assert url in refused.value.detail
        assert refused.value.severity == "permanent"


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///",
        "s3://a/b::file:///etc/passwd",
        "s3://::dir:///etc",
        "s3://a/x.zip::zip://b",
        "s3://a/b\0c",
    ],
)
async def test_chains_and_broken_urls_are_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(InputError, match=r"is no URL of one object|names no object"):
        await fetched(url)


@pytest.mark.parametrize("text", ["gs://bucket/x", "dir://etc", "local:///etc/passwd", "S3://a/b"])
async def test_other_schemes_are_content_and_never_opened(text: str) -> None:
    assert await fetched(text) == Datum("3", text)


@pytest.mark.parametrize(
    "scheme", ["file", "local", "dir", "http", "simplecache", "zip", "reference", "a::b", "S3", ""]
)
def test_schemes_that_lead_to_files_or_elsewhere_cannot_be_set(scheme: str) -> None:
    with pytest.raises(ValidationError, match="no scheme of an object store"):
        Settings(claim_schemes=(scheme,))


async def test_a_store_that_is_away_is_transient(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match="could not fetch") as refused:
        await fetched(f"s3://{BUCKET}/x", seconds=20)
    assert refused.value.severity == "transient"


async def test_a_store_that_does_not_answer_is_given_up(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        began = time.monotonic()
        with pytest.raises(InputError, match=r"no answer within 0\.5 s") as refused:
            await fetched(f"s3://{BUCKET}/x", seconds=0.5)
        gone.set()
    assert time.monotonic() - began < 20
    assert refused.value.severity == "transient"


async def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing can be uninstalled for one test: a None here is what import takes for missing.
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(InputError, match=r"s3:// needs pip install 'ddstream\[claims\]'"):
        await fetched("s3://a/b")
    with pytest.raises(InputError, match="nosuch:// needs fsspec's library"):
        await fetched("nosuch://a/b", schemes=("nosuch",))


async def test_a_listed_scheme_without_asynchronous_parts_works_too() -> None:
    fsspec.filesystem("memory").pipe_file("/shelf/cat", PNG)
    assert (await fetched("memory://shelf/cat", schemes=("memory",))).content == PNG


async def test_a_file_url_stays_below_the_roots_whatever_the_schemes(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    async with Fetcher(Roots((tmp_path,)), timeout=1, max_bytes=1, stores=("s3",)) as fetcher:
        inside = await fetcher.fetch(f"file://{tmp_path}/cat.png", 0, timeout=-1)
        assert inside.content == tmp_path / "cat.png"
        with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
            await fetcher.fetch("file:///etc/passwd", 0, timeout=-1)
