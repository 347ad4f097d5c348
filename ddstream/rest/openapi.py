"""The OpenAPI 3.1 description of the HTTP edge, made from the models of the API."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ddstream.api import answers
from ddstream.api.envelope import Json
from ddstream.api.image import ImageInput
from ddstream.api.predict import OutputParameters, PredictRequest
from ddstream.api.service import ModelObject, ServiceDefinition
from ddstream.api.torch import TorchParameters, TorchTraining
from ddstream.api.train import TrainRequest
from ddstream.errors import DDError
from ddstream.rest.operations import OPERATIONS, Operation
from ddstream.version import __version__

_JSON = "application/json"
_ALWAYS = (401, 408, 429, 500, 503, 504)
"""Errors that any route of the API may answer."""
_KEYS: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
_REFS = "#/components/schemas/"


def describe() -> Json:
    """The whole OpenAPI document."""
    paths: dict[str, Json] = {}
    for route in OPERATIONS:
        described = {method: _operation(route, method) for method in route.methods}
        paths.setdefault(route.path, {}).update(described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ddstream",
            "version": __version__,
            "description": "Deep learning services over HTTP: create, train, predict.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _KEYS},
    }


def _operation(route: Operation, method: str) -> Json:
    wrong = {"$ref": _REFS + answers.ErrorAnswer.__name__}
    responses = {str(code): _response(code, model) for code, model in route.answers.items()}
    for code in sorted({*route.errors, *_ALWAYS}) if route.errors else ():
        responses[str(code)] = {
            "description": _meaning(code),
            "content": {_JSON: {"schema": wrong}},
        }
    operation: Json = {
        "summary": route.summary,
        "operationId": f"{method}_{route.path.strip('/').split('/')[0].replace('.', '_')}",
        "parameters": [*_path_parameters(route.path), *route.query],
        "responses": responses,
    }
    if route.errors:
        # Without configured keys everybody may call: the empty one stands for that.
        operation["security"] = [*({name: []} for name in _KEYS), {}]
    if route.body is not None:
        schema = {"$ref": _REFS + route.body.__name__}
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    return operation


def _path_parameters(path: str) -> list[Json]:
    if "{name}" not in path:
        return []
    text = {"type": "string"}
    description = "Name of the service; ASCII letters are lowered."
    return [
        {"name": "name", "in": "path", "required": True, "description": description, "schema": text}
    ]


def _response(code: int, model: type[BaseModel] | None) -> Json:
    if model is None:
        return {"description": _meaning(code)}
    schema = {"$ref": _REFS + model.__name__}
    return {"description": _meaning(code), "content": {_JSON: {"schema": schema}}}


def _meaning(code: int) -> str:
    found = [error for error in DDError.__subclasses__() if error.code == code]
    reasons = [error.dd_msg or (error.__doc__ or "").split("\n")[0].rstrip(".") for error in found]
    return "; ".join(dict.fromkeys(reasons)) or {200: "OK", 201: "Created"}.get(code, "")


def _schemas() -> Json:
    models: set[type[BaseModel]] = {ModelObject, ImageInput, TorchParameters, TorchTraining}
    models |= {OutputParameters, answers.ErrorAnswer}
    for route in OPERATIONS:
        models.update(model for model in (route.body, *route.answers.values()) if model)
    _, schema = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=_REFS + "{model}",
    )
    schemas: Json = schema["$defs"]
    # The requests keep these objects raw, because which model reads them depends on the service.
    for request, mllib in (
        (ServiceDefinition, TorchParameters),
        (PredictRequest, TorchParameters),
        (TrainRequest, TorchTraining),
    ):
        name = f"{request.__name__}Parameters"
        schemas[name] = _typed(schemas["Parameters"], mllib)
        schemas[request.__name__]["properties"]["parameters"] = {"$ref": _REFS + name}
    schemas["ServiceDefinition"]["properties"]["model"] = {"$ref": _REFS + ModelObject.__name__}
    return schemas


def _typed(parameters: Json, mllib: type[BaseModel]) -> Json:
    members: dict[str, Any] = {"input": ImageInput, "mllib": mllib, "output": OutputParameters}
    refs = {name: {"$ref": _REFS + model.__name__} for name, model in members.items()}
    return {**parameters, "properties": {**parameters["properties"], **refs}}
