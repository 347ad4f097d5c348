"""A literal table of plugs: the name is known at once, the import waits for its first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name of the API to what does its work, given as `"module:attribute"`.

    `extras` names the optional dependency of an entry, so that a missing one is said by name.
    """

    def __init__(self, entries: Mapping[str, str], extras: Mapping[str, str] | None = None) -> None:
        self._entries = dict(entries)
        self._extras = dict(extras or {})

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def add(self, name: str, entry: str) -> None:
        """One more plug for this process. Raises ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"{name} is registered already")
        self._entries[name] = entry

    def load(self, name: str) -> T:
        """Import and return the entry. Raises KeyError if unknown, ImportError with the extra's
        name if its library is missing."""
        module, _, attribute = self._entries[name].partition(":")
        try:
            return cast(T, getattr(import_module(module), attribute))
        except ModuleNotFoundError as error:
            extra = self._extras.get(name)
            if extra is None:
                raise
            raise ImportError(f"{name} needs: pip install 'ddstream[{extra}]'") from error
