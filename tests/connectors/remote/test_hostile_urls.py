"""Hostile URLs: each of a long table is refused in time, and nothing is fetched for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from ddstream.connectors.remote.addresses import Reach, is_public, literal
from ddstream.roots import Roots
from tests.connectors.remote.hostile import ADDRESSES, BROKEN, NAMES, PATHS, SCHEMES
from tests.connectors.remote.hostile_ground import (
    Canary,
    Zone,
    predicted,
    refusal,
    response,
    saying,
    serving,
)


def test_the_table_is_long() -> None:
    assert len({*ADDRESSES, *NAMES, *BROKEN, *SCHEMES, *PATHS}) > 200


@pytest.mark.parametrize("host", ADDRESSES)
async def test_addresses_that_are_not_public_are_refused(canary: Canary, host: str) -> None:
    for url in (f"http://{host}:{canary.port}/a.png", f"https://{host}/latest/meta-data/"):
        assert "DDSTREAM_FETCH_ALLOW" in await refusal(url, resolver=Zone())
    assert canary.hits == 0


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_private_addresses_are_refused(canary: Canary, name: str) -> None:
    zone = Zone(**{spelled: [NAMES[name]] for spelled in (name, name.lower(), "localhost")})
    text = await refusal(f"http://{name}:{canary.port}/a.png", resolver=zone)
    assert "DDSTREAM_FETCH_ALLOW" in text
    assert zone.asked
    assert canary.hits == 0


@pytest.mark.parametrize("name", ["localhost", "localhost.", "LOCALHOST"])
async def test_the_systems_own_names_are_refused_too(canary: Canary, name: str) -> None:
    await refusal(f"http://{name}:{canary.port}/a.png")
    assert canary.hits == 0


@pytest.mark.parametrize("url", [*BROKEN, *SCHEMES])
async def test_what_is_no_http_url_is_refused(
    canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    roots = Roots((tmp_path,))
    await refusal(url.replace("{port}", str(canary.port)), roots, resolver=Zone())
    assert canary.hits == 0


async def test_a_very_long_url_is_refused(canary: Canary) -> None:
    await refusal(f"http://10.0.0.1:{canary.port}/" + "a" * 5_000_000)
    await refusal("http://" + "a" * 5_000_000, resolver=Zone())
    assert canary.hits == 0


async def test_a_name_that_changes_its_address_is_judged_at_each_connection(
    canary: Canary,
) -> None:
    """The address that was judged is the one that is connected to; a later one is judged anew."""
    zone = Zone(**{"rebind.example": ["127.0.0.2", "127.0.0.1"]})
    url = f"http://rebind.example:{canary.port}/a.png"
    # The first answer is permitted and nobody listens there; the second one would reach.
    text = await refusal(url, resolver=zone, allow=("127.0.0.2",))
    assert "127.0.0.2" in text
    assert zone.asked == ["rebind.example"]
    assert "DDSTREAM_FETCH_ALLOW" in await refusal(url, resolver=zone, allow=("127.0.0.2",))
    assert canary.hits == 0


async def test_of_several_addresses_only_permitted_ones_are_tried(canary: Canary) -> None:
    class Two(Zone):
        async def resolve(self, *given: Any, **named: Any) -> list[ResolveResult]:
            private, allowed = await super().resolve(*given), await super().resolve(*given)
            return [*private, *allowed]

    url = f"http://two.example:{canary.port}/a.png"
    both = Two(**{"two.example": ["10.0.0.1", "127.0.0.1", "127.0.0.1"]})
    assert await predicted(url, resolver=both, allow=("127.0.0.0/8",))
    assert canary.hits == 1


@pytest.mark.parametrize("allow", ["127.0.0.1", "127.0.0.0/8"])
async def test_an_allowed_network_is_reached_however_it_is_written(
    canary: Canary, allow: str
) -> None:
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001"):
        assert await predicted(f"http://{host}:{canary.port}/a.png", allow=(allow,))
    assert canary.hits == 4


@pytest.mark.parametrize("status", ["301 a", "302 a", "303 a", "307 a", "308 a"])
@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://127.2:{port}/",
        "http://[::ffff:7f00:2]:{port}/",
        "http://a@127.0.0.2:{port}/",
        "http://169.254.169.254/latest/",
        "https://10.0.0.1/",
        "http://hop.example:{port}/",
        "file:///etc/passwd",
        "ftp://127.0.0.2:{port}/",
        "gopher://127.0.0.2:{port}/",
        "data:image/png;base64,AAAA",
        "http:///",
        "http://[",
        "\\\\127.0.0.2:{port}",
    ],
)
async def test_a_redirect_leads_to_permitted_places_only(status: str, target: str) -> None:
    hits = 0

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hits
        hits += 1
        await saying(response())(reader, writer)

    zone = Zone(**{"hop.example": ["127.0.0.2"]})
    async with serving(never, "127.0.0.2") as port:
        place = response(b"", status, Location=target.replace("{port}", str(port)))
        async with serving(saying(place)) as first:
            url = f"http://127.0.0.1:{first}/"
            await refusal(url, allow=("127.0.0.1",), resolver=zone)
    assert hits == 0


async def test_redirects_in_a_circle_end() -> None:
    count = 0

    async def around(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await saying(response(b"", "302 Found", Location=f"/{count}"))(reader, writer)

    async with serving(around) as port:
        text = await refusal(f"http://127.0.0.1:{port}/", allow=("127.0.0.1",))
    assert "more than 5 redirects" in text
    assert count == 6


@pytest.mark.parametrize(
    "page",
    [
        b'<meta http-equiv="refresh" content="0;url=http://127.0.0.1:PORT/">',
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:PORT/"/></svg>',
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1:PORT/">]><a>&x;</a>',
        b"#EXTM3U\nhttp://127.0.0.1:PORT/\n",
    ],
)
async def test_what_a_document_points_to_is_not_fetched(canary: Canary, page: bytes) -> None:
    body = page.replace(b"PORT", b"%d" % canary.port)
    async with serving(
        saying(response(body, Refresh=f"0;url=http://127.0.0.1:{canary.port}/"))
    ) as p:
        await refusal(f"http://127.0.0.1:{p}/", allow=("127.0.0.1",))
    assert canary.hits == 0


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "1.1.1.1"])
def test_public_addresses_are_public(address: str) -> None:
    found = literal(address)
    assert found is not None
    assert is_public(found)
    assert Reach.of(()).permits(address, address)


@pytest.mark.parametrize(
    "name", ["example.com", "a.b", "1.2.3.4.5", "0x1g", "1e3", "", "face", "256.1.1.1", "08.1.1.1"]
)
def test_names_are_no_addresses(name: str) -> None:
    assert literal(name) is None
