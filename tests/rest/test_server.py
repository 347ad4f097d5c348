"""The server: its port, and an end that finishes what is in hand."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import pytest

from ddstream.api.parameters import envelope
from ddstream.api.service import ServiceDefinition
from ddstream.rest.app import app
from ddstream.rest.server import Server, stopped
from ddstream.settings import Settings
from tests.rest.conftest import SERVICE, Http
from tests.rest.twin import TwinApi


async def test_a_stopping_server_answers_what_it_took_and_takes_no_more(
    twin: TwinApi, http: Http
) -> None:
    await twin.create_service("letters", envelope(ServiceDefinition, SERVICE))
    async with AsyncExitStack() as stack:
        listening = Server(app(twin, Settings()), "127.0.0.1", 0)
        server = await stack.enter_async_context(listening)
        body = {"service": "letters", "data": ["wait"]}
        call = asyncio.ensure_future(Http(http.session, server.url)("POST", "/predict", body))
        await twin.waiting.wait()
        stopping = asyncio.ensure_future(stack.aclose())
        async with asyncio.timeout(5):
            while await accepts(server.port):
                assert not call.done()
        twin.release.set()
        assert (await call).status == 200
        await stopping


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_a_call_that_outlasts_the_drain_is_ended(twin: TwinApi, http: Http) -> None:
    await twin.create_service("letters", envelope(ServiceDefinition, SERVICE))
    async with Server(app(twin, Settings()), "127.0.0.1", 0, drain=0.1) as server:
        body = {"service": "letters", "data": ["wait"]}
        call = asyncio.ensure_future(Http(http.session, server.url)("POST", "/predict", body))
        await twin.waiting.wait()
    await asyncio.wait_for(twin.cancelled.wait(), 5)
    call.cancel()


async def test_a_port_that_is_taken_is_an_error(twin: TwinApi, server: Server) -> None:
    with pytest.raises(OSError, match="address already in use"):
        async with Server(app(twin, Settings()), "127.0.0.1", server.port):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_wait(number: signal.Signals) -> None:
    waiting = asyncio.ensure_future(stopped())
    await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(waiting, 5)
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
