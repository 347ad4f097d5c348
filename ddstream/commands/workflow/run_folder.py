"""The folder of a run: what it was, how it went, what it measured and made."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ddstream.api.envelope import dumps
from ddstream.commands.workflow.events import Event, now
from ddstream.repository import Repository

RUN, METRICS, ARTIFACTS = "run.json", "metrics.jsonl", "artifacts.jsonl"
OBSERVED, CURVES, CONFIG = "training-observability.json", "curves.png", "config.yaml"
LIVE = ("training_status", "run_finished")

Points = dict[str, list[tuple[int, float]]]
"""Measure -> (iteration, value), in order."""


class RunFolder:
    """Keeps the files of one run as its events come in."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._files = Repository(path)
        self._run: dict[str, Any] = {
            "run_id": f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            "run_name": about["run_name"],
            "command": about["command"],
            "model": about["model"],
            "service_name": about["service_name"],
            "created_at": now(),
            "options": about["options"],
            "status": "starting",
            "job": None,
            "last_status": None,
        }
        self._write()

    @property
    def run_id(self) -> str:
        """Names this run; a resumed one has another."""
        return str(self._run["run_id"])

    @property
    def name(self) -> str:
        """Names this run and those that go on from it."""
        return str(self._run["run_name"])

    def __call__(self, event: Event) -> None:
        """See Listener."""
        name = event["event"]
        if name == "metric":
            self._append(METRICS, event)
        elif name == "artifact":
            self._append(ARTIFACTS, event)
        elif name in LIVE:
            job = event.get("job", self._run["job"])
            self._run |= {"status": event["status"], "job": job, "last_status": dict(event)}
            self._write()

    def ended(self, status: str) -> None:
        """Note the end of a run that did not come to tell of it."""
        self._run["status"] = status
        self._write()

    def taken_back(self, done: int) -> Points:
        """The points of earlier runs after `done` iterations; later ones are forgotten."""
        lines = list(read_lines(self.path / METRICS))
        # An iteration's own points have its number from 0 on; a test's, how many were done.
        counted = {line["name"] for line in lines if line["iteration"] == 0}
        kept = [line for line in lines if line["iteration"] + (line["name"] in counted) <= done]
        self._files.write(METRICS, b"".join(dumps(line) + b"\n" for line in kept))
        return gathered(kept)

    def emptied(self) -> None:
        """Forget the measures and artifacts of earlier runs."""
        self._files.remove([METRICS, ARTIFACTS, OBSERVED, CURVES])

    def observe(self, status: str) -> Points:
        """Write the summary of all measures, and return their points."""
        points = gathered(read_lines(self.path / METRICS))
        summary = {
            "run_id": self.run_id,
            "run_name": self._run["run_name"],
            "model": self._run["model"],
            "status": status,
            "updated_at": now(),
            "metrics": summaries(points),
        }
        self._files.write_json(OBSERVED, summary)
        return points

    def _append(self, name: str, event: Event) -> None:
        with (self.path / name).open("ab") as file:
            file.write(dumps(event) + b"\n")

    def _write(self) -> None:
        self._files.write(RUN, orjson.dumps(self._run, option=_PRETTY, default=str) + b"\n")


_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def run_name(path: Path) -> str:
    """The name of a run by its repository's folder: letters, digits and `._-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name).strip("-.") or "run"


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; a line that a kill cut off is passed over."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


def gathered(lines: Iterable[Mapping[str, Any]]) -> Points:
    """The points of metric events, by measure."""
    points: Points = {}
    for line in lines:
        points.setdefault(line["name"], []).append((line["iteration"], line["value"]))
    return points


def summaries(points: Points) -> dict[str, Any]:
    """Of each measure: how many points, the first, the last, the extremes."""
    return {name: _summary(series) for name, series in points.items()}


def _summary(series: list[tuple[int, float]]) -> dict[str, float]:
    values = [value for _, value in series]
    return {
        "points": len(values),
        "first": values[0],
        "last": values[-1],
        "min": min(values),
        "max": max(values),
        "last_iteration": series[-1][0],
    }
