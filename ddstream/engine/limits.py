"""How large a batch may be: as many samples as were asked for, or as memory was enough for."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from dataclasses import dataclass

from ddstream.engine.meters import Meters

log = logging.getLogger(__name__)

RELIEF_SECONDS = 300.0
"""After so long a limit is doubled once: whoever took the memory may be gone."""
GROUPS = 256
"""Groups whose limits are kept; callers choose shapes, so that there is no end to them."""


@dataclass(slots=True)
class _Learned:
    size: int
    said: int
    """The smallest size that the log has."""
    since: float


class BatchLimits:
    """The batch limits of one lane by group, on the lane's thread alone."""

    def __init__(self, meters: Meters, most: int) -> None:
        self._meters = meters
        self._most = most
        self._learned: dict[Hashable, _Learned] = {}
        meters.limit.set(most)

    def of(self, group: Hashable) -> int:
        """The most samples that a pass of this group may have."""
        learned = self._learned.get(group) if self._learned else None
        if learned is None:
            return self._most
        if time.monotonic() - learned.since > RELIEF_SECONDS:
            self._set(learned, learned.size * 2)
        return learned.size

    def lower(self, group: Hashable, failed: int) -> None:
        """A pass of so many samples ran out of memory: half of them is the limit from now on."""
        if group not in self._learned and len(self._learned) >= GROUPS:
            del self._learned[next(iter(self._learned))]
        learned = self._learned.setdefault(group, _Learned(self._most, self._most + 1, 0.0))
        self._set(learned, max(1, failed // 2))
        if learned.size < learned.said:
            learned.said = learned.size
            log.warning(
                "%s: %d samples in one pass ran out of memory; batches have at most %d from now on",
                self._meters.service,
                failed,
                learned.size,
            )

    def _set(self, learned: _Learned, size: int) -> None:
        learned.size = min(size, self._most)
        learned.since = time.monotonic()
        self._meters.limit.set(min(each.size for each in self._learned.values()))
