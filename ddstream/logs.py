"""The log of a process: lines for people, or one JSON object an event for machines; no secrets.

A line tells the service, the correlation id and the trace that it is about, where they are known:
from `extra` where a record is handled, else from `about`, the context of the task that logs.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Format = Literal["text", "json"]
Fields = Callable[[], Mapping[str, str]]

MASK = "***"
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@\"']+(?=@)")
"""What stands before the host of a URL."""
_STANDARD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"))
"""Attributes that every record has; all others were given as `extra`."""


def configure(
    level: str,
    form: Format,
    *,
    secrets: Iterable[str] = (),
    about: Fields = dict,
    stream: TextIO | None = None,
) -> None:
    """Make this the log of the process: everything of `level` and above goes to `stream`, stderr
    if it is absent. `secrets` are masked wherever they stand. Raises ValueError for no level."""
    mask = Mask(secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(mask, about) if form == "json" else TextLines(mask))
    root = logging.getLogger()
    for old in [
        each for each in root.handlers if isinstance(each.formatter, TextLines | JsonLines)
    ]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # aiokafka tells each retry at ERROR; what matters of it is told by our own log.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def service_log(name: str) -> logging.Logger:
    """The logger of one service; its level can be set apart from the others'."""
    return logging.getLogger(f"ddstream.service.{name.lower()}")


class Mask:
    """Covers secrets in a text, as they are and as `repr` shows them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in (secret, repr(secret)[1:-1])}
        # The longest first: one secret may be part of another.
        ordered = sorted(forms, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """The text without secrets, and without credentials in URLs."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        return _CREDENTIALS.sub(MASK, text) if "@" in text else text


class TextLines(logging.Formatter):
    """Lines for people; an exception follows in lines of its own."""

    def __init__(self, mask: Mask) -> None:
        super().__init__(_TEXT)
        self._mask = mask

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line: what came from a client must not begin another."""
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return self._mask(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object in one line for each event."""

    def __init__(self, mask: Mask, about: Fields = dict) -> None:
        super().__init__()
        self._mask = mask
        self._about = about

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._mask(record.getMessage()),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        for name, value in {**self._about(), **extra}.items():
            line.setdefault(name, self._plain(value))
        if record.exc_info:
            line["exception"] = self._mask(self.formatException(record.exc_info))
        return json.dumps(line)

    def _plain(self, value: Any) -> Any:
        if value is None or (isinstance(value, int | float) and math.isfinite(value)):
            return value
        return self._mask(str(value))
