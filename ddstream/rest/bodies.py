"""Bodies: read within their limits of size, of time, and of what all together may hold."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ddstream.errors import SlowRequest, TooManyRequests
from ddstream.rest.reply import too_large
from ddstream.settings import Settings


class Bodies:
    """Reads the bodies of one server."""

    def __init__(self, settings: Settings) -> None:
        self._each = settings.max_request_bytes
        self._all = max(settings.max_in_flight_bytes, settings.max_request_bytes)
        self._seconds = settings.read_timeout
        self._held = 0
        """Bytes of the bodies that are being read."""

    async def read(self, request: web.Request) -> bytes:
        """The whole body, unpacked. Raises TooLarge, SlowRequest, or TooManyRequests where other
        bodies fill the memory that all may take."""
        if (request.content_length or 0) > self._each:
            raise too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                await self._into(body, request)
        except TimeoutError as error:
            raise SlowRequest(f"the body did not arrive within {self._seconds:g} s") from error
        except web.RequestPayloadError:
            # Nothing more will come of it: the server must not read on after the answer.
            request.content.feed_eof()
            raise
        finally:
            self._held -= len(body)
        return bytes(body)

    async def _into(self, body: bytearray, request: web.Request) -> None:
        async for chunk in request.content.iter_any():
            body += chunk
            self._held += len(chunk)
            if len(body) > self._each:
                raise too_large()
            if self._held > self._all:
                raise TooManyRequests("too many bodies are being read")
