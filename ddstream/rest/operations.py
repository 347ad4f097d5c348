"""The routes of the HTTP edge as its description lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel

from ddstream.api import answers
from ddstream.api.envelope import Json
from ddstream.api.predict import PredictRequest
from ddstream.api.service import Clear, ServiceDefinition
from ddstream.api.train import JobQuery, JobStop, TrainRequest


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: what it takes, and its answers by HTTP status."""

    methods: Sequence[str]
    path: str
    summary: str
    answers: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    query: Sequence[Json] = ()
    errors: Sequence[int] = ()


def _member(name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema,
    }


def _flag(name: str, default: bool, description: str) -> Json:
    return _member(name, description, {"type": "boolean", "default": default})


def _members(model: type[BaseModel]) -> list[Json]:
    schema = model.model_json_schema()
    kept = ("type", "default", "anyOf", "minimum")
    return [
        _member(
            name,
            member["description"],
            {key: value for key, value in member.items() if key in kept},
            required=name in schema["required"],
        )
        for name, member in schema["properties"].items()
        if name != "parameters"
    ]


_CLEAR = _member(
    "clear",
    "What becomes of the files: mem keeps them, lib removes the library's, full empties the "
    "repository, dir removes it, index removes the search index.",
    {"enum": list(get_args(Clear)), "default": "mem"},
)
_JOBS = "Tell the jobs of each service."
_LABELS = "Tell the names of the classes."
_HISTORY = (
    _flag("parameters.output.measure_hist", False, "Give the history of the measures."),
    _member(
        "parameters.output.max_hist_points",
        "Most points of a series.",
        {"type": "integer", "default": 10000},
    ),
)

_SERVICES = (
    Operation(
        ("get",),
        "/info",
        "The server and its services",
        {200: answers.InfoAnswer},
        query=(_flag("status", False, _JOBS),),
        errors=(400,),
    ),
    Operation(
        ("put", "post"),
        "/services/{name}",
        "Create a service",
        {201: answers.Done},
        body=ServiceDefinition,
        errors=(400, 404, 409, 413),
    ),
    Operation(
        ("get",),
        "/services/{name}",
        "Tell of a service",
        {200: answers.ServiceAnswer},
        query=(_flag("status", True, _JOBS), _flag("labels", False, _LABELS)),
        errors=(400, 404),
    ),
    Operation(
        ("delete",),
        "/services/{name}",
        "Delete a service",
        {200: answers.Done},
        query=(_CLEAR,),
        errors=(400, 404),
    ),
)
_TRAINING = (
    Operation(
        ("post", "put"),
        "/train",
        "Train the model of a service",
        {201: answers.TrainAnswer},
        body=TrainRequest,
        errors=(400, 404, 409, 413),
    ),
    Operation(
        ("get",),
        "/train",
        "Tell of a training; its final report is given once",
        {200: answers.JobAnswer},
        query=(*_members(JobQuery), *_HISTORY),
        errors=(400, 404),
    ),
    Operation(
        ("delete",),
        "/train",
        "Stop a training",
        {200: answers.JobAnswer},
        query=_members(JobStop),
        errors=(400, 404),
    ),
)
_PREDICTION = (
    Operation(
        ("post", "put"),
        "/predict",
        "Predict from data",
        {200: answers.PredictAnswer},
        body=PredictRequest,
        errors=(400, 403, 404, 409, 413, 429),
    ),
)
_PROBES = (
    Operation(("get",), "/livez", "Whether the process answers", {200: None}),
    Operation(
        ("get",),
        "/readyz",
        "Whether requests can be served",
        {200: answers.Readiness, 503: answers.Readiness},
    ),
    Operation(("get",), "/metrics", "Counters for Prometheus", {200: None}),
    Operation(("get",), "/openapi.json", "This description", {200: None}),
    Operation(("get",), "/docs", "This description as a page", {200: None}),
)

OPERATIONS = (*_SERVICES, *_TRAINING, *_PREDICTION, *_PROBES)
