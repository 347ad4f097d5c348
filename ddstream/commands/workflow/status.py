"""The state of a run as its folder tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from ddstream.api.envelope import dumps
from ddstream.commands.say import say
from ddstream.commands.workflow.events import Format, as_text
from ddstream.commands.workflow.run_folder import (
    METRICS,
    RUN,
    gathered,
    read_lines,
    summaries,
)


def status(path: Path, form: Format) -> int:
    """Tell of the run in this folder, or of this `run.json`.

    Raises FileNotFoundError if there is no run, ValueError if the file is none.
    """
    found = run(path)
    if form == "text":
        say("\n".join(_lines(found)))
    else:
        option = orjson.OPT_INDENT_2 if form == "json" else 0
        say(orjson.dumps(orjson.loads(dumps(found)), option=option).decode())
    return 0


def run(path: Path) -> dict[str, Any]:
    """What `run.json` says, with a summary of the measures so far."""
    file = path / RUN if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"there is no run at {path}")
    try:
        found = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{file} is no JSON") from error
    if not isinstance(found, dict) or "run_id" not in found:
        raise ValueError(f"{file} does not tell of a run")
    points = gathered(read_lines(file.parent / METRICS))
    return {**found, "metrics": summaries(points)}


def _lines(found: dict[str, Any]) -> list[str]:
    names = ("run_id", "run_name", "model", "created_at", "status", "job")
    lines = [f"{name:<12} {found.get(name)}" for name in names]
    if last := found.get("last_status"):
        lines.append(f"{'last':<12} {as_text(last)}")
    for name, each in found["metrics"].items():
        numbers = " ".join(f"{word}={each[word]:.6g}" for word in ("first", "last", "min", "max"))
        lines.append(f"{name:<24} {numbers} at={each['last_iteration']}")
    return lines
