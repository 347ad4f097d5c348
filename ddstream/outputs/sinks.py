"""Sinks: where an answer is pushed, by the scheme of `output.network.url`.

Pushing lets a caller reach hosts that he may not reach himself, so the operator lists them.
"""

from __future__ import annotations

import io
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from ddstream.api.envelope import JSON, Relay
from ddstream.connectors.remote.addresses import literal
from ddstream.errors import DDError, ParameterError, SinkError

LOOPBACK = ("localhost", "127.0.0.0/8", "::1")
"""For `serve` on loopback: who can call it can reach these too."""
ANY_HOST = ("*",)
"""For in-process use: the caller is the operator."""

_MAX_ANSWER = 32 << 20


class Sink(Protocol):
    """Takes pushed answers of one kind of URL."""

    async def push(self, url: str, method: str, content: bytes, content_type: str) -> Relay:
        """Deliver, and return what the far side said.

        Raises ParameterError for a URL that may not be pushed to, SinkError if it fails:
        a transient one if it could not be reached.
        """

    async def close(self) -> None:
        """Free what it holds."""


class Sinks:
    """The sinks of a process by URL scheme; `async with` closes them."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = dict(sinks)

    @classmethod
    def standard(cls, allow: Iterable[str], **others: Sink) -> Sinks:
        """http and https to allowed hosts, and `others` by scheme (`kafka=...`)."""
        http = HttpSink(allow)
        return cls({"http": http, "https": http, **others})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sink in set(self._sinks.values()):
            await sink.close()

    def sink(self, url: str) -> Sink:
        """The sink of a URL. Raises ParameterError for an unknown scheme."""
        scheme = url.partition("://")[0].lower()
        try:
            return self._sinks[scheme]
        except KeyError:
            known = ", ".join(f"{name}://" for name in self._sinks)
            raise ParameterError(
                f"output.network.url: {url[:100]!r} has none of the schemes {known}"
            ) from None

    async def push(self, url: str, method: str, content: bytes, content_type: str) -> Relay:
        """Push to the sink of the URL's scheme; see Sink."""
        return await self.sink(url).push(url, method, content, content_type)


class HttpSink:
    """Pushes over HTTP(S) to hosts that the operator lists; follows no redirects."""

    def __init__(self, allow: Iterable[str], *, timeout: float = 30.0) -> None:
        self._allowed = _Allowed(allow)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def push(self, url: str, method: str, content: bytes, content_type: str) -> Relay:
        """See Sink."""
        target = self._allowed.checked(_target(url))
        headers = {"Content-Type": content_type}
        try:
            async with self._opened().request(
                method, target, data=io.BytesIO(content), headers=headers, allow_redirects=False
            ) as response:
                body = await _bounded(response)
                kind = response.headers.get("Content-Type", JSON)
                return Relay(response.status, body, kind)
        except DDError:
            raise
        except ValueError as error:
            raise ParameterError(f"output.network: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise SinkError(f"{target.host}: {reason}").graded("transient") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_Resolver(self._allowed)),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _Allowed:
    """Hosts by name, addresses by network, or all (`*`)."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.add(entry.lower())

    def checked(self, url: URL) -> URL:
        """The URL to connect to. Raises ParameterError if no address of its host can be allowed."""
        host = url.host or ""
        address = literal(url.raw_host or "")
        if address is None:
            if not (self.named(host) or self._networks):
                raise _refused(host)
            return url
        if not (self.named(host) or self.named(str(address)) or self.address(str(address))):
            raise _refused(host)
        return url.with_host(str(address))

    def named(self, host: str) -> bool:
        """Whether every address of a host of this name is allowed."""
        return "*" in self._names or host.lower().rstrip(".") in self._names

    def address(self, address: str) -> bool:
        """Whether the address lies in an allowed network."""
        ip = literal(address)
        return ip is not None and any(ip in network for network in self._networks)


class _Resolver(AbstractResolver):
    """Resolves names to allowed addresses only: what was checked is what is connected to."""

    def __init__(self, allowed: _Allowed) -> None:
        self._allowed = allowed
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of `host`. Raises ParameterError if there is none."""
        found = await self._inner.resolve(host, port, family)
        if not self._allowed.named(host):
            found = [result for result in found if self._allowed.address(result["host"])]
        if not found:
            raise _refused(host)
        return found

    async def close(self) -> None:
        """Nothing is held."""


def _refused(host: str) -> ParameterError:
    return ParameterError(
        f"output.network.url: host {host[:100]!r} is not listed in DDSTREAM_SINK_ALLOW"
    )


def _target(url: str) -> URL:
    try:
        target = URL(url)
        # A host of broken letters says so only when it is asked for.
        host = target.host
    except ValueError as error:
        raise ParameterError(f"output.network.url: {error}") from error
    if not host:
        raise ParameterError(f"output.network.url: {url[:100]!r} names no host")
    return target


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > _MAX_ANSWER:
            raise SinkError(f"the answer is longer than {_MAX_ANSWER} bytes")
    return bytes(body)
