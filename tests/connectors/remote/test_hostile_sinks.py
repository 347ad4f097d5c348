"""Hostile sinks: results are pushed only where the operator allows."""

from __future__ import annotations

import asyncio

import pytest

from ddstream.errors import DDError, ParameterError
from ddstream.outputs.sinks import HttpSink
from tests.connectors.remote.hostile import ADDRESSES, BROKEN
from tests.connectors.remote.hostile_ground import (
    SECONDS,
    Canary,
    response,
    saying,
    serving,
)


@pytest.mark.parametrize("host", ADDRESSES)
async def test_results_are_not_pushed_there_either(canary: Canary, host: str) -> None:
    """With a network listed and a name: neither opens any other address."""
    for allow in (("198.51.100.77/32",), ("sink.example",), ()):
        sink = HttpSink(allow, timeout=5)
        try:
            for url in (f"http://{host}:{canary.port}/", f"https://{host}/"):
                with pytest.raises(ParameterError, match="DDSTREAM_SINK_ALLOW"):
                    async with asyncio.timeout(SECONDS):
                        await sink.push(url, "POST", b"{}", "application/json")
        finally:
            await sink.close()
    assert canary.hits == 0


@pytest.mark.parametrize("url", BROKEN)
async def test_results_are_not_pushed_to_what_is_no_url(canary: Canary, url: str) -> None:
    sink = HttpSink(("198.51.100.77/32",), timeout=5)
    try:
        with pytest.raises(DDError) as caught:
            await sink.push(url.replace("{port}", str(canary.port)), "POST", b"{}", "a/b")
    finally:
        await sink.close()
    assert caught.value.dd_code in (1006, 1009)
    assert canary.hits == 0


async def test_a_pushed_result_follows_no_redirect(canary: Canary) -> None:
    place = response(b"", "307 Temporary Redirect", Location=f"http://127.0.0.1:{canary.port}/")
    async with serving(saying(place)) as port:
        sink = HttpSink(("127.0.0.1",), timeout=5)
        relay = await sink.push(f"http://127.0.0.1:{port}/", "POST", b"{}", "application/json")
        await sink.close()
    assert relay.code == 307
    assert canary.hits == 0
