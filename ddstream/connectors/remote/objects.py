"""Objects in object stores, read and written whole: what fsspec reaches, by its URLs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ddstream.errors import InputError

EXTRAS = {"s3": "claims", "s3a": "claims"}
"""The extra of ddstream that a scheme needs; for the others their own library is installed."""


class ObjectStores:
    """One client for each scheme, opened at its first use; `schemes` are those that may be used.

    Credentials and endpoints come from where the scheme's library looks for them: for S3 the
    standard AWS variables and files.
    """

    def __init__(self, schemes: Iterable[str]) -> None:
        self._prefixes = tuple(f"{scheme}://" for scheme in schemes)
        self._open: dict[str, Any] = {}

    async def close(self) -> None:
        """Close the connections."""
        for files in self._open.values():
            if close := getattr(getattr(files, "_s3", None), "close", None):
                await close()

    def serves(self, text: str) -> bool:
        """Whether a string is a URL of one of the schemes."""
        return text.startswith(self._prefixes)

    async def read(self, url: str, *, seconds: float, most: int) -> bytes:
        """The bytes of an object. Raises InputError: transient if a later try may succeed."""
        try:
            async with asyncio.timeout(seconds):
                return await self._read(self._files(url), _key(url), most)
        except TimeoutError as error:
            raise _failed(url, f"no answer within {seconds:g} s").graded("transient") from error
        except FileNotFoundError as error:
            raise _failed(url, "there is no such object") from error
        except PermissionError as error:
            raise _failed(url, f"access denied: {error}") from error
        except InputError:
            raise
        except Exception as error:
            # A scheme's library raises what it likes.
            raise _failed(url, f"{type(error).__name__}: {error}").graded("transient") from error

    async def write(self, url: str, content: bytes, *, seconds: float) -> None:
        """Make an object, or replace it. Raises TimeoutError, and what the library raises."""
        async with asyncio.timeout(seconds):
            await self._files(url)._pipe_file(_key(url), content)

    async def _read(self, files: Any, key: str, most: int) -> bytes:
        about = await files._info(key)
        if about["type"] != "file":
            raise FileNotFoundError(key)
        if not (size := about.get("size")):
            # A part of nothing cannot be asked for.
            return b"" if size == 0 else await self._part(files, key, most)
        if size > most:
            raise InputError(f"could not fetch {key[:200]}: {size} bytes, the limit is {most}")
        return await self._part(files, key, most)

    async def _part(self, files: Any, key: str, most: int) -> bytes:
        content: bytes = await files._cat_file(key, start=0, end=most + 1)
        if len(content) > most:
            raise InputError(f"could not fetch {key[:200]}: more than {most} bytes")
        return content

    def _files(self, url: str) -> Any:
        scheme = url.partition("://")[0]
        if scheme not in self._open:
            self._open[scheme] = _opened(scheme)
        return self._open[scheme]


def _opened(scheme: str) -> Any:
    try:
        from fsspec import get_filesystem_class
        from fsspec.asyn import AsyncFileSystem
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        kind = get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        extra = EXTRAS.get(scheme)
        needs = f"pip install 'ddstream[{extra}]'" if extra else f"fsspec's library of it: {error}"
        raise InputError(f"{scheme}:// needs {needs}") from error
    # Listings that are kept would hide what was written meanwhile.
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if issubclass(kind, AsyncFileSystem):
        return kind(asynchronous=True, **options)
    return AsyncFileSystemWrapper(kind(**options), asynchronous=True)


def _key(url: str) -> str:
    """What a URL names below its scheme. Raises InputError for chains of URLs, and for nothing."""
    key = url.partition("://")[2]
    if "::" in url or "\0" in url:
        raise InputError(f"{url[:200]} is no URL of one object")
    if not key.strip("/"):
        raise InputError(f"{url[:200]} names no object")
    return key


def _failed(url: str, reason: str) -> InputError:
    return InputError(f"could not fetch {url[:200]}: {reason[:300]}")
