"""API keys: who calls, by a secret of which only the digest is kept."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from aiohttp import web

from ddstream.errors import Unauthorized

_PREFIX = "dds_"
_BYTES = 32
"""Random bytes of a key: nobody searches 2**256 keys, so that a slow hash or a salt, made for
passwords that people choose, would protect nothing here and cost each request its time."""


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys that are known here, by the name of their owner."""

    digests: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> ApiKeys:
        """The keys that a setting lists as `name:sha256`."""
        parts = (entry.rpartition(":") for entry in entries)
        return cls(tuple((name, digest) for name, _, digest in parts))

    def __bool__(self) -> bool:
        return bool(self.digests)

    def owner(self, request: web.Request) -> str:
        """The name of who shows a key with a request. Raises Unauthorized."""
        shown = _shown(request)
        if not shown:
            raise Unauthorized("an API key is needed, as Authorization: Bearer KEY or X-API-Key")
        digest = digest_of(shown)
        # All are compared, each in constant time: how long it takes tells nothing.
        found = [name for name, known in self.digests if hmac.compare_digest(digest, known)]
        if not found:
            raise Unauthorized("the API key is not known here")
        return found[0]


def new_key() -> str:
    """A fresh key."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(key: str) -> str:
    """What is kept of a key: its SHA-256, in hex."""
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _shown(request: web.Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        return given.strip()
    return request.headers.get("X-API-Key", "").strip()
