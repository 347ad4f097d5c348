"""Query strings become JSON as the reference makes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.errors import BadRequest
from ddstream.rest.query import query_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("12", 12),
        ("-3", -3),
        ("0.5", 0),
        ("12abc", "12abc"),
        ("", 0),
        (" 7", 7),
        ("🐱", 0),
        ("é", "é"),
        ("9" * 40, int("9" * 18)),
    ],
)
def test_values_are_typed_by_how_they_look(text: str, value: Any) -> None:
    found = query_json({"x": text})["x"]
    assert found == value
    assert type(found) is type(value)


def test_dotted_names_nest_and_join() -> None:
    query = {"parameters.output.measure_hist": "true", "parameters.output.max_hist_points": "9"}
    output = {"measure_hist": True, "max_hist_points": 9}
    assert query_json(query) == {"parameters": {"output": output}}


def test_names_of_services_stay_text() -> None:
    assert query_json({"service": "42", "job": "42"}) == {"service": "42", "job": 42}


@pytest.mark.parametrize("query", [{"a": "1", "a.b": "2"}, {"a.b": "2", "a": "1"}])
def test_a_member_cannot_be_a_value_and_an_object(query: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        query_json(query)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_any_query_is_json_or_refused(query: dict[str, str]) -> None:
    try:
        found = query_json(query)
    except BadRequest:
        return
    assert isinstance(found, dict)
