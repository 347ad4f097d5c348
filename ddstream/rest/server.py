"""A listening HTTP server: it starts, tells its port, and stops after what it has in hand."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ddstream.api.envelope import JSON, dumps
from ddstream.rest.reply import status_json
from ddstream.settings import SettingsError

log = logging.getLogger(__name__)

READ_TIMEOUT = web.AppKey("read_timeout", float)
"""Where an application keeps how many seconds a client has for its headers."""

_READ_SECONDS = 75.0
_LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read, so that the client can read why."""
_MAX_HEADER = 16384
"""Bytes of a request line or a header (contract 0.6)."""


class Server:
    """`async with Server(app, host, port) as server:` listens; port 0 takes a free one.

    With `tls` it speaks HTTPS. Whoever sends no complete headers for the application's
    READ_TIMEOUT seconds is cut off. At the end it stops accepting and gives open requests `drain`
    seconds to finish.
    """

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        drain: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._runner = _Runner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=drain,
            lingering_time=_LINGER_SECONDS,
            keepalive_timeout=app.get(READ_TIMEOUT, _READ_SECONDS),
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
        )
        self._host = host
        self._tls = tls
        self.port = port
        """The port that it listens on, once it does."""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, self.port, ssl_context=self._tls)
            await site.start()
            self.port = int(self._runner.addresses[0][1])
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it can be reached."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"


def server_tls(certfile: Path | None, keyfile: Path | None) -> ssl.SSLContext | None:
    """The TLS of a server with this certificate, 1.2 or newer; None without one.

    Raises SettingsError for files that do not fit.
    """
    if certfile is None:
        if keyfile is not None:
            raise SettingsError("tls_keyfile: there is no tls_certfile")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password for the key it must not be asked for at a terminal.
        context.load_cert_chain(certfile, keyfile, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"tls_certfile {certfile}: {error}") from error
    return context


async def stopped() -> None:
    """Return at the first SIGTERM or SIGINT of this process."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Connection(RequestHandler):
    """A connection whose protocol errors are status JSON too."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to what is no HTTP, or to a failure outside the application."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request failed outside the application", exc_info=exc)
            message = "the request failed"
        detail = " ".join((message or "the request cannot be read").split())[:300]
        response = web.Response(
            status=status,
            body=dumps(status_json(status, detail)),
            headers={"Content-Type": JSON},
        )
        response.force_close()
        return response


class _Listener(web.Server):
    """Makes our kind of connection."""

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """Runs an application behind our kind of listener."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Listener(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
