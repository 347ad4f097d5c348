"""The metrics: named with their unit, described once, and those that the alerts ask for exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram, Info

from ddstream import metrics

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = ("seconds", "bytes", "records", "calls", "requests", "samples", "jobs", "iterations")
UNITLESS = ("ddstream_ready", "ddstream_training_loss", "ddstream_training_iterations_per_second")

INSTRUMENTS: dict[str, Any] = {
    instrument._name: instrument
    for instrument in vars(metrics).values()
    if isinstance(instrument, Counter | Gauge | Histogram | Info)
}


def exposed() -> dict[str, Any]:
    """Every name that a query may use."""
    names: dict[str, Any] = {}
    for name, instrument in INSTRUMENTS.items():
        endings = {Counter: ["_total"], Info: ["_info"], Histogram: ["_bucket", "_sum", "_count"]}
        for ending in endings.get(type(instrument), [""]):
            names[name + ending] = instrument
    return names


@pytest.mark.parametrize("name", sorted(INSTRUMENTS))
def test_each_metric_has_a_help_text_and_a_unit(name: str) -> None:
    instrument = INSTRUMENTS[name]
    assert name.startswith("ddstream")
    assert instrument._documentation.endswith(".")
    if isinstance(instrument, Gauge | Histogram):
        assert name in UNITLESS or name.rpartition("_")[2] in UNITS


def described() -> dict[str, tuple[str, set[str]]]:
    """Name -> kind and labels, as the page tells them."""
    found: dict[str, tuple[str, set[str]]] = {}
    for line in (DEPLOY / "metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 4 or not (names := re.findall(r"`(\w+)`", cells[0])):
            continue
        labels = {label.strip() for label in cells[2].split(",")} - {""}
        for name in names:
            whole = name if name.startswith("ddstream") else names[0].rpartition("_")[0] + name
            found[whole] = (cells[1], labels)
    return found


def test_the_page_describes_each_metric_and_no_other() -> None:
    kinds: dict[Any, tuple[str, str]] = {
        Counter: ("counter", "_total"),
        Gauge: ("gauge", ""),
        Histogram: ("histogram", ""),
    }
    real = {
        name + kinds[type(each)][1]: (kinds[type(each)][0], set(each._labelnames))
        for name, each in INSTRUMENTS.items()
        if not isinstance(each, Info)
    }
    real["ddstream_info"] = ("gauge", {"version"})
    assert described() == real


RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_alert_asks_for_what_exists(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    names = set(re.findall(r"\bddstream_\w+", rule["expr"]))
    assert names or rule["expr"].startswith("up{")
    assert names <= exposed().keys()
    known = {label for name in names for label in exposed()[name]._labelnames} | {"instance"}
    used = re.findall(r"(\w+)=~?\"", rule["expr"]) + re.findall(
        r"\$labels\.(\w+)", rule["annotations"]["summary"]
    )
    assert set(used) - {"job"} <= known
    grouped = re.findall(r"by \((\w+)\)", rule["expr"])
    if grouped:
        told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert told <= set(grouped)
