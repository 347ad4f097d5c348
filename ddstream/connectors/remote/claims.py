"""Claims: an answer that no record can hold is kept in a store, and a record says where."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import quote, unquote, urlsplit

from ddstream.connectors.remote.objects import ObjectStores
from ddstream.errors import InputError, InternalError, Unavailable
from ddstream.roots import OutsideRoots, Roots
from ddstream.settings import Settings, SettingsError

TRIES = 3
_NAME = re.compile(r"[a-z0-9_-]+/[0-9a-f]{64}\.[a-z]+")
_SUFFIXES = {"application/json": "json", "text/plain": "txt"}


@dataclass(frozen=True, slots=True)
class Claim:
    """Where an answer is kept, and what it is."""

    url: str
    nbytes: int
    sha256: str
    content_type: str

    @classmethod
    def parse(cls, raw: object) -> Self:
        """The claim in an answer's head. Raises InternalError if it is none."""
        try:
            assert isinstance(raw, Mapping)
            return cls(
                str(raw["url"]), int(raw["nbytes"]), str(raw["sha256"]), str(raw["content_type"])
            )
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise InternalError("the answer's claim cannot be read") from error

    def head(self) -> dict[str, Any]:
        """As it stands in the head of the answer that stands for the kept one."""
        return asdict(self)


class ClaimStore(Protocol):
    """Keeps answers by name. `put` and `get` raise Unavailable while the store is away."""

    async def put(self, name: str, content: bytes, content_type: str) -> Claim:
        """Keep an answer; the same name again replaces it."""

    async def get(self, claim: Claim) -> bytes:
        """A kept answer, as it was. Raises InternalError for one that is not of this store."""

    async def close(self) -> None:
        """Let go of connections."""


def claim_store(settings: Settings) -> ClaimStore | None:
    """The store that the settings name; None if they name none. Raises SettingsError."""
    url = settings.claim_store
    if not url:
        return None
    if not url.startswith("file://"):
        return ObjectClaims(url, settings.fetch_timeout)
    try:
        return FolderClaims(url, Roots(settings.roots))
    except OutsideRoots as error:
        raise SettingsError(f"claim_store: {error}") from error


def claim_name(secret: str, service: str, source: str, request: bytes, kind: str) -> str:
    """The name of the answer to one request: always the same for it, and not to be guessed.

    `source` is where and when the request was written; `service` is part of a topic's name.
    """
    digest = hmac.new(secret.encode(), f"{source}\n".encode(), hashlib.sha256)
    digest.update(request)
    suffix = _SUFFIXES.get(kind.partition(";")[0], "bin")
    return f"{service}/{digest.hexdigest()}.{suffix}"


class FolderClaims:
    """A folder below the roots, which all workers and bridges share."""

    def __init__(self, url: str, roots: Roots) -> None:
        self._folder = roots.resolve(unquote(urlsplit(url).path))
        self._url = "file://" + quote(str(self._folder))

    async def put(self, name: str, content: bytes, content_type: str) -> Claim:
        """See ClaimStore."""
        try:
            await asyncio.to_thread(self._write, self._folder / name, content)
        except OSError as error:
            raise _away(self._url, error) from error
        return _claim(f"{self._url}/{name}", content, content_type)

    async def get(self, claim: Claim) -> bytes:
        """See ClaimStore."""
        path = self._folder / _name(self._url, claim)
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise _away(self._url, error) from error
        return _checked(content, claim)

    async def close(self) -> None:
        """See ClaimStore."""

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with open(beside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


class ObjectClaims:
    """A place in an object store; `seconds` is the longest that one try may take."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._stores = ObjectStores((url.partition("://")[0],))

    async def put(self, name: str, content: bytes, content_type: str) -> Claim:
        """See ClaimStore."""
        url = f"{self._url}/{name}"
        for more in reversed(range(TRIES)):
            try:
                await self._stores.write(url, content, seconds=self._seconds)
                break
            except Exception as error:
                # A scheme's library raises what it likes.
                if not more or isinstance(error, InputError | PermissionError):
                    raise _away(self._url, error) from error
            await asyncio.sleep(0.2 * (TRIES - more))
        return _claim(url, content, content_type)

    async def get(self, claim: Claim) -> bytes:
        """See ClaimStore."""
        url = f"{self._url}/{_name(self._url, claim)}"
        try:
            content = await self._stores.read(url, seconds=self._seconds, most=claim.nbytes)
        except InputError as error:
            raise _away(self._url, error) from error
        return _checked(content, claim)

    async def close(self) -> None:
        """See ClaimStore."""
        await self._stores.close()


def _claim(url: str, content: bytes, content_type: str) -> Claim:
    return Claim(url, len(content), hashlib.sha256(content).hexdigest(), content_type)


def _name(store: str, claim: Claim) -> str:
    """The name of a claim of this store: an answer may not make its reader open anything else."""
    name = claim.url.removeprefix(store + "/")
    if name == claim.url or not _NAME.fullmatch(name):
        raise InternalError(f"the answer is kept at {claim.url[:300]}, not in {store}")
    return name


def _checked(content: bytes, claim: Claim) -> bytes:
    if len(content) != claim.nbytes or hashlib.sha256(content).hexdigest() != claim.sha256:
        raise Unavailable(f"{claim.url[:300]} is not what was kept there")
    return content


def _away(store: str, error: Exception) -> Unavailable:
    text = str(error) or type(error).__name__
    away = Unavailable(f"the claim store {store} cannot be used: {text[:300]}")
    return away.graded("transient")
