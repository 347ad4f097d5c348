"""What the predict loops of one worker share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ddstream.api.protocol import Host
from ddstream.connectors.remote.claims import ClaimStore
from ddstream.stream.connection import Connection
from ddstream.stream.predicting.attempts import Quarantine
from ddstream.stream.predicting.versions import Versions
from ddstream.stream.topics import Topics


@dataclass(frozen=True, slots=True)
class LoopParts:
    """Belongs to the worker. `abandon` ends the process at once, without a commit."""

    connection: Connection
    topics: Topics
    host: Host
    producer: Any
    versions: Versions
    quarantine: Quarantine
    abandon: Callable[[str], None]
    claims: ClaimStore | None = None
