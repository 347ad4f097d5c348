"""How rejects look to a person: a table, a page, a line of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ddstream.stream.rejects.reject import Reject, age
from ddstream.stream.rejects.rejects import Done

HEX_BYTES = 256
TEXT_CHARACTERS = 16_384
WIDE = 160
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def as_json(what: Reject | Done) -> str:
    """One line of JSON."""
    if isinstance(what, Done):
        return orjson.dumps({"id": str(what.id), "ok": what.ok, "detail": what.detail}).decode()
    line = {
        "id": str(what.id),
        "service": what.service,
        "code": what.code,
        "message": what.message,
        "attempts": what.attempts,
        "rejected": moment(what.time),
        "size": what.size,
        "key": None if what.key is None else text(what.key),
        "headers": {name: text(value or b"") for name, value in what.headers},
        "origin": asdict(what.origin) if what.origin else None,
        "copies": [str(each) for each in what.copies],
    }
    if what.mark is not None:
        line["resolved"] = what.mark.model_dump()
    return orjson.dumps(line).decode()


def table(rejects: Sequence[Reject]) -> None:
    """Print a table."""
    console = Console(width=None if Console().is_terminal else WIDE)
    grid = Table("id", "service", "code", "message", "attempts", "age", "size", box=None)
    shows_outcome = any(reject.mark is not None for reject in rejects)
    if shows_outcome:
        grid.add_column("became")
    for reject in rejects:
        cells = [
            str(reject.id),
            reject.service,
            reject.code,
            reject.message[:200],
            str(reject.attempts),
            duration(age(reject)),
            quantity(reject.size),
        ]
        if shows_outcome:
            cells.append(reject.mark.outcome if reject.mark else "open")
        # What a stranger wrote is no markup.
        grid.add_row(*(Text(cell) for cell in cells))
    console.print(grid)


def described(reject: Reject) -> str:
    """Everything but the value, a line each."""
    lines = [
        ("id", str(reject.id)),
        ("service", reject.service),
        ("code", reject.code),
        ("message", reject.message),
        ("attempts", str(reject.attempts)),
        ("rejected", f"{moment(reject.time)} ({duration(age(reject))} ago)"),
        ("from", str(reject.origin or "unknown")),
        ("key", "none" if reject.key is None else text(reject.key)),
        ("size", f"{reject.size} bytes"),
    ]
    if reject.mark is not None:
        mark = reject.mark
        became = f"{mark.outcome} by {mark.by} at {moment(mark.time)}"
        lines.append(("became", f"{became}, {mark.target}" if mark.target else became))
    lines += [(f"header {name}", text(value or b"")) for name, value in reject.headers]
    return "\n".join(f"{name:<10} {printable(value)}" for name, value in lines)


def preview(value: bytes | None) -> str:
    """A value for a terminal: JSON indented, text, or the first bytes in hex."""
    if value is None:
        return "(no value)"
    try:
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        shown = text(value[: TEXT_CHARACTERS * 4])
    if not shown.startswith("0x"):
        rest = len(shown) - TEXT_CHARACTERS
        return shown[:TEXT_CHARACTERS] + (f"\n... ({rest} more)" if rest > 0 else "")
    lines = [
        f"{start:08x}  {value[start : start + 16].hex(' ')}"
        for start in range(0, min(len(value), HEX_BYTES), 16)
    ]
    return "\n".join([*lines, f"({len(value)} bytes)"])


def text(raw: bytes) -> str:
    """UTF-8 as it is, if a terminal can print it; else 0x and hex digits."""
    try:
        shown = raw.decode()
    except UnicodeDecodeError:
        return "0x" + raw.hex()
    return shown if printable(shown) == shown else "0x" + raw.hex()


def printable(shown: str) -> str:
    """Without what moves a terminal's cursor, but for line ends and tabs."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in shown
    )


def moment(seconds: float) -> str:
    """Unix seconds as ISO time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def duration(seconds: float) -> str:
    """The largest unit that fits: 3d, 2h, 5m, 40s."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def quantity(nbytes: int) -> str:
    """Bytes for a person."""
    if nbytes < 1024:
        return f"{nbytes} B"
    return f"{nbytes / 1024:.1f} KiB" if nbytes < 1 << 20 else f"{nbytes / (1 << 20):.1f} MiB"
