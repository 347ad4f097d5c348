"""Which network addresses data may be fetched from: public ones, and what the operator lists."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from unicodedata import normalize

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6-only networks see them (RFC 6052)."""
_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is given to the internet; the rest is local, reserved or historic."""
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's platform, metadata among it, at an address like any other
            "192.0.0.0/24",  # protocol assignments; Oracle's cloud has its metadata there
            "192.88.99.0/24",  # the old relays of 6to4
            "2001::/23",  # Teredo and other protocols
            "2001:db8::/32",
            "3fff::/20",
        ),
    )
)
"""Addresses that not every Python version knows as special."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Public addresses, and the names and networks that were listed beside them."""

    names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, allow: Iterable[str]) -> Reach:
        """The reach that a setting lists: host names, addresses, networks such as 10.0.0.0/8."""
        names, networks = set(), []
        for item in allow:
            try:
                networks.append(ip_network(item, strict=False))
            except ValueError:
                names.add(item.lower())
        return cls(frozenset(names), tuple(networks))

    def permits(self, host: str, address: str) -> bool:
        """Whether `address`, which `host` stands for, may be connected to."""
        if host.lower().rstrip(".") in self.names:
            return True
        found = ip_address(address.partition("%")[0])
        return is_public(found) or any(
            each in network for each in _meant(found) for network in self.networks
        )


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it can be reached over the internet, every address inside it included."""
    return all(
        each.is_global
        and not each.is_multicast
        and (each.version == 4 or each in _UNICAST)
        and not any(each in network for network in _SPECIAL)
        for each in _meant(address)
    )


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host's text is, if it is one and no name.

    Systems read more than the usual form: `127.1`, `0x7f000001` and `2130706433` are 127.0.0.1.
    """
    text = normalize("NFKC", host).partition("%")[0].strip("[]").rstrip(".")
    try:
        return ip_address(text)
    except ValueError:
        pass
    try:
        # It takes anything after a space, which no host has.
        return IPv4Address(socket.inet_aton(text)) if text and not text.split()[1:] else None
    except (OSError, ValueError):
        return None


def _meant(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address, or the IPv4 address that it carries inside."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _TRANSLATED:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            yield inner
            return
    yield address
