"""AsyncAPI and JSON schemas of the topics, generated from what declares them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml
from faststream.kafka import KafkaBroker
from faststream.specification.asyncapi import AsyncAPI
from pydantic import TypeAdapter

from ddstream.api.answers import PredictAnswer
from ddstream.api.predict import PredictRequest
from ddstream.api.stream import (
    ControlCommand,
    JobRow,
    RejectMark,
    ServiceRecord,
    TrainCommand,
    WorkerRecord,
)
from ddstream.settings import Settings
from ddstream.stream.control import declare
from ddstream.stream.topics import Topics, TopicSpec, specs
from ddstream.version import __version__

SCHEMAS: Mapping[str, Any] = {
    "ControlCommand": ControlCommand,
    "TrainCommand": TrainCommand,
    "ServiceRecord": ServiceRecord,
    "WorkerRecord": WorkerRecord,
    "JobRow": JobRow,
    "RejectMark": RejectMark,
    "PredictRequest": PredictRequest,
    "PredictAnswer": PredictAnswer,
}


def schemas() -> dict[str, Any]:
    """The JSON schema of each value, by name."""
    return {name: TypeAdapter(model).json_schema() for name, model in SCHEMAS.items()}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document: what FastStream declares, and a channel for every other topic."""
    settings = Settings.model_construct(prefix="dd", bootstrap="localhost:9092")
    broker = KafkaBroker("localhost:9092")
    control, train = declare(broker, Topics(settings), {})

    # FastStream tells only of subscribers with a handler, and reads the value from its signature.
    control(_on_control)
    train(_on_train)
    document: dict[str, Any] = orjson.loads(
        AsyncAPI(broker, title="ddstream", version=__version__).to_specification().to_json()
    )
    channels = document["channels"]
    declared = {channel.get("address", "") for channel in channels.values()}
    for kind, spec in specs().items():
        if _address(spec) not in declared:
            channels[kind] = _channel(spec)
    return document


async def _on_control(command: ControlCommand) -> None:
    """Make or delete a service."""


async def _on_train(command: TrainCommand) -> None:
    """Start or stop a training, or take its report."""


def write(folder: Path) -> None:
    """Write `asyncapi.yaml` and `schemas/*.json` below a folder."""
    (folder / "schemas").mkdir(exist_ok=True)
    (folder / "asyncapi.yaml").write_text(render(), encoding="utf-8")
    for name, schema in schemas().items():
        content = orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        (folder / "schemas" / f"{name}.json").write_bytes(content + b"\n")


def render() -> str:
    """The AsyncAPI document as YAML, sorted: FastStream lists its parts in the order of a set."""
    text: str = yaml.safe_dump(asyncapi(), sort_keys=True, allow_unicode=True, width=100)
    return text


def _address(spec: TopicSpec) -> str:
    return spec.name.replace("{prefix}", "dd")


def _channel(spec: TopicSpec) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": _address(spec),
        "title": spec.title,
        "bindings": {
            "kafka": {
                "topic": _address(spec),
                "partitions": spec.partitions,
                "topicConfiguration": {"cleanup.policy": [spec.config["cleanup.policy"]]},
            }
        },
    }
    parameters = [name for name in ("service", "bridge") if f"{{{name}}}" in spec.name]
    if parameters:
        channel["parameters"] = {name: {"description": f"A {name}."} for name in parameters}
    if spec.value in SCHEMAS:
        payload = {"$ref": f"schemas/{spec.value}.json"}
        channel["messages"] = {spec.value: {"title": spec.value, "payload": payload}}
    return channel
