"""Which network addresses data may be fetched from: public ones, and what the operator lists."""

from __future__ import annotations

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

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6-only networks see them (RFC 6052)."""


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
    return all(each.is_global and not each.is_multicast for each in _meant(address))


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
