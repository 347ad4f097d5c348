"""Events: what a workflow tells, one JSON object each, and who hears of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeAlias

from ddstream.api.envelope import dumps
from ddstream.commands.say import say

Event: TypeAlias = Mapping[str, Any]
"""`event`, `timestamp` (ISO, UTC), then what it tells (contract 8.1)."""
Format = Literal["json", "jsonl", "text"]

ALWAYS = frozenset({"resume"})
"""Members that an event has even if there is nothing to say of them: null."""
_KNOWN = ("event", "timestamp", "run_id")
"""What a line for people does not repeat."""
_LISTED = 5
"""Elements of a list that such a line has."""


class Listener(Protocol):
    """Hears of each event, in order."""

    def __call__(self, event: Event, /) -> None: ...


class Events:
    """Makes events and tells them to its listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = list(listeners)

    def __call__(self, name: str, /, **payload: Any) -> None:
        """Tell of an event; members that are None are left out, but for those of `ALWAYS`."""
        told = {k: v for k, v in payload.items() if v is not None or k in ALWAYS}
        event = {"event": name, "timestamp": now(), **told}
        for listener in self._listeners:
            listener(event)


class Printer:
    """Prints events: `jsonl` and `text` a line each at once, `json` all as one array by `close`."""

    def __init__(self, form: Format, say: Callable[[str], None] = say) -> None:
        self._form = form
        self._say = say
        self._kept: list[Event] = []

    def __call__(self, event: Event) -> None:
        """See Listener."""
        if self._form == "json":
            self._kept.append(event)
        else:
            self._say(dumps(event).decode() if self._form == "jsonl" else as_text(event))

    def close(self) -> None:
        """Print what `json` has kept."""
        if self._form == "json":
            self._say(dumps(self._kept).decode())


def now() -> str:
    """The time, in ISO format and UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_text(event: Event) -> str:
    """An event as a line for people."""
    rest = {k: v for k, v in event.items() if k not in _KNOWN and v is not None}
    if event["event"] == "prediction":
        rest["prediction"] = {k: v for k, v in rest["prediction"].items() if k != "uri"}
    told = " ".join(f"{name}={_short(value)}" for name, value in rest.items())
    return f"{event['timestamp'][11:19]} {event['event']} {told}".rstrip()


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{k}={_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        more = [f"... {len(value)} in all"] if len(value) > _LISTED else []
        return "[" + ", ".join([*map(_short, value[:_LISTED]), *more]) + "]"
    return dumps(value).decode()
