"""Rows of jobs that a record can hold: what is too large in a report is left out, and said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ddstream.api.envelope import Json, dumps
from ddstream.api.stream import JobRow

WARNING_BYTES = 4096
"""Room for the words about what was left out."""


def fitting(row: JobRow, limit: int) -> JobRow:
    """The row in at most `limit` bytes, if leaving out measures and predictions can do that.

    The largest ones go first; the job's warnings name them. `metrics.json` has all the measures.
    """
    size = len(dumps(row.model_dump()))
    if size <= limit:
        return row
    record = _copy(row.record)
    dropped: list[str] = []
    for bytes_, holder, name in sorted(_parts(record), key=lambda part: -part[0]):
        if size + WARNING_BYTES <= limit:
            break
        del holder[name]
        size -= bytes_
        dropped.append(name)
    named = ", ".join(dict.fromkeys(dropped))[: WARNING_BYTES // 2]
    warning = f"left out of the report, which is larger than a record of the topic: {named}"
    record["warnings"] = [*record.get("warnings", ()), warning]
    return row.model_copy(update={"record": record})


def _copy(record: Json) -> Json:
    """A record whose holders of parts can be changed."""
    report = dict(record.get("report", {}))
    if "measures" in report:
        report["measures"] = [dict(each) for each in report["measures"]]
    return {**record, "measure": dict(record.get("measure", {})), "report": report}


def _parts(record: Json) -> Iterator[tuple[int, dict[str, Any], str]]:
    """What can be left out: its size in bytes, what holds it, its name."""
    report = record["report"]
    for holder in (record["measure"], *report.get("measures", ()), report):
        for name, value in holder.items():
            if name != "measures":
                yield len(dumps({name: value})), holder, name
