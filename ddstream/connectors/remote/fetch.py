"""Fetching: an element of `data` becomes a Datum. It waits on the event loop, decodes nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import aiohttp
import numpy as np
import pybase64
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from ddstream.connectors.locate import LONGEST_PATH
from ddstream.connectors.remote.addresses import Reach, literal
from ddstream.connectors.remote.objects import ObjectStores
from ddstream.data import Datum
from ddstream.errors import InputError
from ddstream.roots import OutsideRoots, Roots

_REDIRECTS = 5
_CHUNK = 1 << 16
_URL = ("http://", "https://")
TEXT_URI = "data:text/plain;base64,"
"""What bytes of a text begin with where they travel: they are no path, whatever they say."""


class Fetcher:
    """Resolves paths, URLs and contents; owns one HTTP session, opened at its first use.

    `timeout` bounds the seconds of one URL, whatever the call asks for; `max_bytes` its size.
    `allow` lists hosts and networks that may be fetched from though they are not public.
    `stores` are the schemes of object stores that may be read from, by fsspec's names.
    `resolver` is asked for the addresses of a name; by default the system is.
    """

    def __init__(
        self,
        roots: Roots,
        *,
        timeout: float,
        max_bytes: int,
        allow: Sequence[str] = (),
        stores: Sequence[str] = (),
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._roots = roots
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._reach = Reach.of(allow)
        self._stores = ObjectStores(stores)
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stores.close()
        if self._session is not None:
            await self._session.close()

    def inline(self, element: object, index: int) -> Datum | None:
        """The datum of an element that is content for certain, without any I/O; else None."""
        if isinstance(element, str):
            if element.startswith(TEXT_URI):
                text = _unpacked(element)
                return None if text is None else Datum(str(index), text)
            url = element.startswith((*_URL, "file://")) or self._stores.serves(element)
            content = (len(element) > LONGEST_PATH and not url) or element.startswith("data:")
            return Datum(str(index), element) if content else None
        if isinstance(element, bytes | np.ndarray):
            return Datum(str(index), element)
        if isinstance(element, bytearray | memoryview):
            return Datum(str(index), bytes(element))
        return None

    # The timeout is an option of the call, applied where there is something to wait for.
    async def fetch(self, element: object, index: int, *, timeout: float) -> Datum:  # noqa: ASYNC109
        """The datum of element `index` of `data`; `timeout` in seconds, -1 for the longest.

        Its uri is the request's string for paths and URLs, the index for contents. Raises
        InputError for what cannot be fetched or may not be.
        """
        if (datum := self.inline(element, index)) is not None:
            return datum
        if isinstance(element, os.PathLike):
            element = os.fsdecode(element)
        if not isinstance(element, str):
            raise InputError(f"data[{index}] must be a string")
        if element.startswith(TEXT_URI):
            raise InputError(f"data[{index}] is a data URI that is not in base64")
        if element.startswith(_URL):
            limit = self._timeout if timeout < 0 else min(timeout, self._timeout)
            return Datum(element, await self._get(element, limit))
        if self._stores.serves(element):
            limit = self._timeout if timeout < 0 else min(timeout, self._timeout)
            found = await self._stores.read(element, seconds=limit, most=self._max_bytes)
            return Datum(element, found)
        if element.startswith("file://"):
            return self._file(element)
        return self._locate(element, index)

    def _file(self, url: str) -> Datum:
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise InputError(f"{url[:200]} names a file on another host")
        try:
            return Datum(url, self._roots.resolve(unquote(parts.path)))
        except OutsideRoots as outside:
            raise InputError(str(outside)) from outside

    def _locate(self, text: str, index: int) -> Datum:
        """A path below the roots if it exists, else the text itself."""
        content = Datum(str(index), text)
        if "\0" in text or "\n" in text:
            return content
        try:
            real = self._roots.resolve(text)
        except OutsideRoots as outside:
            if _is_base64_image(text) or not self._names_a_path(text):
                return content
            raise InputError(str(outside)) from outside
        return Datum(text, real) if text and os.path.exists(real) else content

    def _names_a_path(self, text: str) -> bool:
        """Whether a string that leads out of the roots is meant as a path.

        An absolute or climbing path is one, and so is a symlink inside a root, all without a look
        at the file: the answer must not tell whether it exists.
        """
        path = Path(text)
        if text.startswith(("/", "~")) or ".." in path.parts:
            return True
        inside = any(path.absolute().is_relative_to(root) for root in self._roots.folders)
        return inside or os.path.exists(path)

    async def _get(self, text: str, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(URL(text))
        except TimeoutError as error:
            raise _failed(text, f"no answer within {seconds:g} s") from error
        except InputError as error:
            raise _failed(text, error.detail) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failed(text, str(error) or type(error).__name__) from error

    async def _follow(self, url: URL) -> bytes:
        for _ in range(_REDIRECTS + 1):
            target = self._checked(url)
            async with self._open().get(target, allow_redirects=False) as response:
                if response.status == 200:
                    return await self._body(response)
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or location is None:
                    raise InputError(f"HTTP status {response.status}")
            url = url.join(URL(location))
        raise InputError(f"more than {_REDIRECTS} redirects")

    def _checked(self, url: URL) -> URL:
        """The URL to connect to. Refuses other schemes, and addresses that may not be reached.

        An address in a URL meets no resolver, so it is judged here, however it is written.
        """
        host = url.raw_host or ""
        if url.scheme not in ("http", "https") or not host:
            raise InputError("it leads to something that is no http(s) URL")
        address = literal(host)
        if address is None:
            return url
        if not self._reach.permits(str(address), str(address)):
            raise _not_public(host)
        return url.with_host(str(address))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_chunked(_CHUNK):
            size += len(part)
            if size > self._max_bytes:
                raise InputError(f"more than {self._max_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_CheckedResolver(self._reach, self._resolver)
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


class _CheckedResolver(AbstractResolver):
    """Resolves names to permitted addresses only, so what was checked is what is connected to."""

    def __init__(self, reach: Reach, inner: AbstractResolver | None) -> None:
        self._reach = reach
        self._inner = inner or DefaultResolver()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """The permitted addresses of a host. Raises InputError if there are none."""
        # typeshed has no integers in AddressFamily's place, aiohttp passes them.
        found = await self._inner.resolve(host, port, family)  # type: ignore[arg-type]
        permitted = [each for each in found if self._reach.permits(host, each["host"])]
        if not permitted:
            raise _not_public(host)
        return permitted

    async def close(self) -> None:
        """Close the resolver inside."""
        await self._inner.close()


def _is_base64_image(text: str) -> bool:
    """Base64 that could pass for an absolute path: JPEG and JPEG 2000 begin with a slash."""
    if not text.startswith(("/9j/", "/0//")):
        return False
    try:
        pybase64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _not_public(host: str) -> InputError:
    return InputError(f"{host[:200]} is not a public address, nor in DDSTREAM_FETCH_ALLOW")


def _failed(url: str, reason: str) -> InputError:
    return InputError(f"could not fetch {url[:200]}: {reason[:300]}")


def _unpacked(element: str) -> bytes | None:
    try:
        return pybase64.b64decode(element.removeprefix(TEXT_URI), validate=True)
    except ValueError:
        return None
