"""Rates: how many requests a second one caller may make, as a bucket of tokens each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address

from ddstream.errors import TooManyRequests

_MOST = 10_000
"""Buckets that are kept before the full ones are thrown away: a full one is like a new one."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    seen: float


class Rates:
    """Lets a caller make `rate` requests a second, and `burst` at once; `clock` gives seconds."""

    def __init__(
        self, rate: float, burst: float = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = max(1.0, burst or rate)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: str) -> None:
        """Count a request. Raises TooManyRequests, with the seconds until there is room."""
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[caller] = _Bucket(self._burst, now)
        bucket.tokens, bucket.seen = self._filled(bucket, now), now
        if bucket.tokens < 1:
            refused = TooManyRequests(f"{caller} makes more than {self._rate:g} requests a second")
            refused.retry_after = math.ceil((1 - bucket.tokens) / self._rate)
            raise refused
        bucket.tokens -= 1

    def __len__(self) -> int:
        return len(self._buckets)

    def _filled(self, bucket: _Bucket, now: float) -> float:
        return min(self._burst, bucket.tokens + (now - bucket.seen) * self._rate)

    def _forget(self, now: float) -> None:
        if len(self._buckets) < _MOST:
            return
        kept = {name: b for name, b in self._buckets.items() if self._filled(b, now) < self._burst}
        # So many at once come from few who lie about their address: the oldest go.
        self._buckets = dict(list(kept.items())[-_MOST // 2 :])


def place(remote: str | None) -> str:
    """The part of a client's address that stands for one caller: IPv6 callers have a whole /64."""
    try:
        address = ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or "unknown"
    if address.version == 6 and address.ipv4_mapped is None:
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
