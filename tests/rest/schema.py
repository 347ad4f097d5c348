"""Checks documents against the answers that the OpenAPI description promises."""

from __future__ import annotations

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # ships no types

from ddstream.api.envelope import Json
from ddstream.rest.openapi import describe


def check(method: str, path: str, code: int, document: Json) -> None:
    """Fail unless `document` fits the schema of that answer."""
    api = describe()
    content = api["paths"][path][method.lower()]["responses"][str(code)]["content"]
    schema = {**content["application/json"]["schema"], "components": api["components"]}
    errors = sorted(Draft202012Validator(schema).iter_errors(document), key=str)
    assert not errors, (method, path, code, errors[0])
