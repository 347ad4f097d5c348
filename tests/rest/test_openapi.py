"""The OpenAPI description: complete, self-contained, and true for real answers."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # ships no types

from ddstream.rest.app import app
from ddstream.rest.openapi import describe
from ddstream.settings import Settings
from tests.rest.conftest import SERVICE, Http
from tests.rest.schema import check
from tests.rest.twin import TwinApi


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    api = describe()
    assert api["openapi"] == "3.1.0"
    for reference in references(api):
        *_, name = reference.split("/")
        assert name in api["components"]["schemas"], reference


def test_every_schema_is_valid_and_every_member_is_described() -> None:
    for name, schema in describe()["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name
        for member, shape in schema["properties"].items():
            assert "$ref" in shape or shape.get("description"), (name, member)


async def test_every_route_of_the_application_is_described(twin: TwinApi) -> None:
    described = {
        (method.upper(), path)
        for path, methods in describe()["paths"].items()
        for method in methods
    }
    routed = {
        (route.method, route.resource.canonical)
        for route in app(twin, Settings()).router.routes()
        if isinstance(route, web.AbstractRoute) and route.resource and route.method != "HEAD"
    }
    assert described == routed


def test_requests_show_typed_parameters() -> None:
    schemas = describe()["components"]["schemas"]
    for request, mllib in (
        ("ServiceDefinition", "TorchParameters"),
        ("PredictRequest", "TorchParameters"),
        ("TrainRequest", "TorchTraining"),
    ):
        parts = schemas[f"{request}Parameters"]["properties"]
        assert schemas[request]["properties"]["parameters"]["$ref"].endswith(f"{request}Parameters")
        assert parts["input"]["$ref"].endswith("/ImageInput")
        assert parts["mllib"]["$ref"].endswith(f"/{mllib}")
        assert parts["output"]["$ref"].endswith("/OutputParameters")
    assert "solver" in schemas["TorchTraining"]["properties"]


async def test_requests_of_the_document_fit_their_schemas() -> None:
    schemas = describe()["components"]
    predict = {"service": "s", "parameters": {"output": {"best": 3}}, "data": ["a.jpg"]}
    for name, body in (("ServiceDefinition", SERVICE), ("PredictRequest", predict)):
        schema = {"$ref": f"#/components/schemas/{name}", "components": schemas}
        Draft202012Validator(schema).validate(body)
    wrong = {"service": "s", "parameters": {"output": {"best": "three"}}}
    schema = {"$ref": "#/components/schemas/PredictRequest", "components": schemas}
    assert not Draft202012Validator(schema).is_valid(wrong)


async def test_real_answers_fit_the_description(http: Http) -> None:
    letters = {"service": "letters", "data": ["ab"]}
    blocking = {**letters, "async": False}
    history = "parameters.output.measure_hist=true"
    for method, path, body, code, route in (
        ("PUT", "/services/letters", SERVICE, 201, "/services/{name}"),
        ("POST", "/services/letters", SERVICE, 409, "/services/{name}"),
        ("GET", "/services/letters?labels=1", None, 200, "/services/{name}"),
        ("GET", "/services/nothing", None, 404, "/services/{name}"),
        ("POST", "/predict", letters, 200, "/predict"),
        ("PUT", "/predict", {**letters, "odd": 1}, 200, "/predict"),
        ("POST", "/predict", {"service": "letters"}, 400, "/predict"),
        ("POST", "/predict", {**letters, "data": ["crash"]}, 500, "/predict"),
        ("POST", "/predict", {**letters, "data": ["busy"]}, 429, "/predict"),
        ("POST", "/train", letters, 201, "/train"),
        ("PUT", "/train", blocking, 201, "/train"),
        ("GET", "/info?status=1", None, 200, "/info"),
        ("GET", "/info?status=2", None, 400, "/info"),
        ("GET", f"/train?service=letters&job=1&{history}", None, 200, "/train"),
        ("GET", "/train?service=letters&job=9", None, 404, "/train"),
        ("DELETE", "/train?service=letters&job=1", None, 200, "/train"),
        ("GET", "/readyz", None, 200, "/readyz"),
        ("DELETE", "/services/letters", None, 200, "/services/{name}"),
    ):
        answer = await http(method, path, body)
        assert answer.status == code, (method, path, answer.content)
        check(method, route, code, answer.json)


async def test_the_page_needs_nothing_but_the_description(http: Http) -> None:
    page = await http("GET", "/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    text = page.content.decode()
    assert re.findall(r"""(?:src|href)=["']([^"']+)""", text) == ["openapi.json"]
    assert re.findall(r"""fetch\(["']([^"']+)""", text) == ["openapi.json"]
    assert "http" not in text.replace("http-equiv", "")
    assert (await http("GET", "/openapi.json")).json == describe()
