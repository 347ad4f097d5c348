"""Fetching: what each element of `data` is, and what may not be fetched. Real servers and files."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from ddstream.connectors.remote.fetch import Fetcher
from ddstream.data import Datum
from ddstream.errors import InputError
from ddstream.roots import ANYWHERE, Roots
from tests.connectors.images.pictures import connector, encoded, photo

PNG = encoded(photo())
LOCAL = ("127.0.0.1",)
NOT_PUBLIC = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a00:1]",
    "[2002:a00:1::]",
]


async def image(_: web.Request) -> web.Response:
    return web.Response(body=PNG, content_type="image/png")


async def missing(_: web.Request) -> web.Response:
    raise web.HTTPNotFound


async def never(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def hop(request: web.Request) -> web.Response:
    """Redirects `n` times, then to the image."""
    left = int(request.match_info["n"])
    raise web.HTTPFound(f"/hop/{left - 1}" if left > 1 else "/image.png")


async def elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound(request.query["to"])


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1 << 16))


async def zipped(_: web.Request) -> web.Response:
    response = web.Response(body=bytes(1 << 22))
    response.enable_compression(web.ContentCoding.gzip)
    return response


@pytest.fixture
async def server() -> AsyncIterator[BaseTestServer]:
    """A web server on the loopback address."""
    app = web.Application()
    app.router.add_get("/image.png", image)
    app.router.add_get("/missing", missing)
    app.router.add_get("/never", never)
    app.router.add_get("/hop/{n}", hop)
    app.router.add_get("/elsewhere", elsewhere)
    app.router.add_get("/endless", endless)
    app.router.add_get("/zipped", zipped)
    # A handler that waits for ever has no reason to be waited for at the end.
    async with TestServer(app, shutdown_timeout=0) as running:
        yield running


def fetcher(*folders: Path, allow: tuple[str, ...] = (), max_bytes: int = 1 << 20) -> Fetcher:
    roots = Roots(tuple(folder.resolve() for folder in folders)) if folders else ANYWHERE
    return Fetcher(roots, timeout=20, max_bytes=max_bytes, allow=allow)


async def fetched(element: object, *folders: Path, **options: Any) -> Datum:
    async with fetcher(*folders, **options) as opened:
        return await opened.fetch(element, 3, timeout=-1)


@pytest.mark.promise("predict.url", "predict.data")
async def test_an_image_is_predicted_from_its_url(server: BaseTestServer) -> None:
    url = str(server.make_url("/image.png?size=large"))
    datum = await fetched(url, allow=LOCAL)
    (sample,) = connector(width=-1, height=-1, rgb=True).read(datum)
    assert sample.uri == url
    assert np.array_equal(sample.inputs["image"], photo())


@pytest.mark.promise("predict.url")
@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8", "localhost"])
async def test_hosts_are_allowed_by_address_network_and_name(
    server: BaseTestServer, allowed: str
) -> None:
    url = f"http://localhost:{server.port}/image.png"
    assert (await fetched(url, allow=(allowed, "::1"))).content == PNG


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "[::1]"]
)
async def test_the_loopback_host_is_refused_by_whatever_name(
    server: BaseTestServer, host: str
) -> None:
    with pytest.raises(InputError, match="could not fetch"):
        await fetched(f"http://{host}:{server.port}/image.png")


@pytest.mark.parametrize(
    "host",
    NOT_PUBLIC,
)
async def test_addresses_that_are_not_public_are_refused(host: str) -> None:
    with pytest.raises(InputError, match="is not a public address, nor in DDSTREAM_FETCH_ALLOW"):
        await fetched(f"http://{host}/latest/meta-data")


async def test_a_redirect_is_checked_again(server: BaseTestServer) -> None:
    for target in ("http://10.0.0.1/", "http://[::1]/", "file:///etc/passwd", "ftp://a/b"):
        url = server.make_url("/elsewhere").with_query(to=target)
        with pytest.raises(InputError, match=r"is not a public address|no http\(s\) URL"):
            await fetched(str(url), allow=LOCAL)


@pytest.mark.promise("predict.url")
async def test_five_redirects_are_followed_and_no_more(server: BaseTestServer) -> None:
    assert (await fetched(str(server.make_url("/hop/5")), allow=LOCAL)).content == PNG
    with pytest.raises(InputError, match="more than 5 redirects"):
        await fetched(str(server.make_url("/hop/6")), allow=LOCAL)


async def test_another_status_than_200_is_refused(server: BaseTestServer) -> None:
    url = str(server.make_url("/missing"))
    with pytest.raises(InputError, match="HTTP status 404") as refused:
        await fetched(url, allow=LOCAL)
    assert url in refused.value.detail


async def test_a_server_that_does_not_answer_is_given_up(server: BaseTestServer) -> None:
    url = str(server.make_url("/never"))
    async with fetcher(allow=LOCAL) as opened:
        with pytest.raises(InputError, match=r"no answer within 0\.05 s"):
            await opened.fetch(url, 0, timeout=0.05)
    async with Fetcher(ANYWHERE, timeout=0.05, max_bytes=9, allow=LOCAL) as capped:
        with pytest.raises(InputError, match=r"no answer within 0\.05 s"):
            await capped.fetch(url, 0, timeout=6000)


@pytest.mark.parametrize("path", ["/endless", "/zipped"])
async def test_more_bytes_than_allowed_are_not_read(server: BaseTestServer, path: str) -> None:
    with pytest.raises(InputError, match="more than 1048576 bytes"):
        await fetched(str(server.make_url(path)), allow=LOCAL)


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "https:///x", "http://a..b/", "http://no host/"]
)
async def test_a_broken_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="could not fetch"):
        await fetched(url)


async def test_nobody_listening_is_an_input_error() -> None:
    with pytest.raises(InputError, match="could not fetch http://127"):
        await fetched("http://127.0.0.1:1/x", allow=LOCAL)


@pytest.mark.parametrize("content", [PNG, bytearray(PNG), memoryview(PNG)])
def test_bytes_are_inline_and_named_by_their_index(content: object) -> None:
    assert fetcher().inline(content, 7) == Datum("7", PNG)


def test_arrays_long_strings_and_data_uris_are_inline() -> None:
    pixels, text = photo(), base64.b64encode(PNG).decode()
    given = fetcher().inline(pixels, 0)
    assert given is not None
    assert given.content is pixels
    assert fetcher().inline(text, 1) == Datum("1", text)
    assert fetcher().inline("data:image/png;base64,AAAA", 2) is not None


async def test_bytes_of_a_text_are_no_path_where_they_arrive() -> None:
    packed = "data:text/plain;base64,L2V0Yy9ob3N0cw=="
    assert fetcher().inline(packed, 2) == Datum("2", b"/etc/hosts")
    assert fetcher().inline(packed + "?", 0) is None
    with pytest.raises(InputError, match=r"data\[3\] is a data URI that is not in base64"):
        await fetcher().fetch(packed + "?", 3, timeout=1)


@pytest.mark.parametrize("element", ["cat.jpg", "http://a/" + "b" * 5000, "file:///" + "b" * 5000])
def test_what_may_need_waiting_is_not_inline(element: object) -> None:
    assert fetcher().inline(element, 0) is None
    assert fetcher().inline(Path("cat.jpg"), 0) is None


async def test_a_path_below_a_root_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "in" / "cat.png"
    file.parent.mkdir()
    file.write_bytes(PNG)
    for element in (str(file), file):
        assert await fetched(element, tmp_path / "in") == Datum(str(file), file)
    assert await fetched(f"file://{file}", tmp_path / "in") == Datum(f"file://{file}", file)
    assert await fetched(str(file.parent)) == Datum(str(file.parent), file.parent)


async def test_a_relative_path_starts_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    assert await fetched("cat.png", tmp_path) == Datum("cat.png", tmp_path / "cat.png")
    with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
        await fetched("cat.png", tmp_path / "elsewhere")
    assert await fetched("1.5,2.5", tmp_path / "elsewhere") == Datum("3", "1.5,2.5")


async def test_a_path_outside_the_roots_is_refused_whether_it_exists_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.chdir(root)
    (tmp_path / "there.png").write_bytes(PNG)
    (root / "link").symlink_to(tmp_path)
    for name in ("there.png", "missing.png"):
        elements = (f"{tmp_path}/{name}", f"../{name}", f"link/{name}", f"file://{tmp_path}/{name}")
        for element in elements:
            with pytest.raises(InputError, match="is not below a folder of DDSTREAM_ROOTS"):
                await fetched(element, root)
    for element in ("~", "~nobody-has-this-name/x", "/9j/not base64"):
        with pytest.raises(InputError, match="DDSTREAM_ROOTS"):
            await fetched(element, root)


async def test_short_base64_that_looks_like_a_path_is_content(tmp_path: Path) -> None:
    tiny = encoded(np.zeros((2, 2, 3), np.uint8), ".jpg")
    text = base64.b64encode(tiny).decode()
    assert text.startswith("/9j/")
    assert await fetched(text, tmp_path) == Datum("3", text)


@pytest.mark.parametrize("text", ["", "two\nlines", "a\0b", "no/such/file", "x" * 4000])
async def test_a_string_that_is_no_path_is_content(text: str) -> None:
    assert await fetched(text) == Datum("3", text)


@pytest.mark.parametrize("element", [1, 2.5, None, {"a": 1}, ["a"]])
async def test_other_elements_are_refused_by_their_index(element: object) -> None:
    with pytest.raises(InputError, match=r"data\[3\] must be a string"):
        await fetched(element)


async def test_a_file_url_on_another_host_is_refused() -> None:
    with pytest.raises(InputError, match="another host"):
        await fetched("file://server/share/cat.png")
