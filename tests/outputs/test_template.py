"""Mustache templates: the document's example, the standard's rules, and what they cannot do."""

from __future__ import annotations

from typing import Any

import chevron
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddstream.errors import ParameterError
from ddstream.outputs.template import MAX_LENGTH, parse, render

AMBULANCE: dict[str, Any] = {
    "status": {"code": 200, "msg": "OK"},
    "head": {"method": "/predict", "time": 28.0, "service": "imageserv"},
    "body": {
        "predictions": [
            {
                "uri": "ambulance.jpg",
                "classes": [
                    {"prob": 0.993358314037323, "cat": "n02701002 ambulance"},
                    {
                        "prob": 0.006424566265195608,
                        "cat": "n03977966 police van, police wagon, paddy wagon, patrol wagon, "
                        "wagon, black Maria",
                    },
                    {"prob": 0.00009115227294387296, "cat": "n03769881 minibus"},
                ],
            }
        ]
    },
}
EXAMPLE = (
    "status={{#status}}{{code}}{{/status}}\n{{#body}}{{#predictions}}*{{uri}}:\n"
    "{{#classes}}{{cat}}->{{prob}}\n{{/classes}}{{/predictions}}{{/body}}"
)


@pytest.mark.promise("output.mustache", "connectors.output.template.template")
def test_the_documented_example_renders_as_shown() -> None:
    assert render(EXAMPLE, AMBULANCE).splitlines() == [
        "status=200",
        "*ambulance.jpg:",
        "n02701002 ambulance->0.993358",
        "n03977966 police van, police wagon, paddy wagon, patrol wagon, wagon, black Maria"
        "->0.00642457",
        "n03769881 minibus->9.11523e-05",
    ]


DATA: dict[str, Any] = {
    "text": "a < b & \"c\" > 'd'",
    "yes": True,
    "no": False,
    "none": None,
    "zero": 0,
    "empty": [],
    "list": ["x", "y"],
    "objects": [{"n": 1}, {"n": 2, "text": "own"}],
    "deep": {"er": {"value": 7}},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{text}}", "a &lt; b &amp; &quot;c&quot; &gt; 'd'"),
        ("{{{text}}} {{&text}}", DATA["text"] + " " + DATA["text"]),
        ("{{missing}}{{none}}|", "|"),
        ("{{yes}} {{no}} {{zero}}", "true false 0"),
        ("{{#yes}}1{{/yes}}{{#no}}2{{/no}}{{#none}}3{{/none}}{{#empty}}4{{/empty}}", "1"),
        ("{{^yes}}1{{/yes}}{{^no}}2{{/no}}{{^none}}3{{/none}}{{^empty}}4{{/empty}}", "234"),
        ("{{#list}}[{{.}}]{{/list}}", "[x][y]"),
        ("{{#objects}}{{n}}{{{text}}};{{/objects}}", f"1{DATA['text']};2own;"),
        ("{{deep.er.value}} {{deep.missing.value}} {{objects.1.n}} {{objects.9.n}}", "7  2 "),
        ("{{#deep}}{{#er}}{{value}}{{yes}}{{/er}}{{/deep}}", "7true"),
        ("a\n{{#list}}\n- {{.}}\n{{/list}}\nb", "a\n- x\n- y\nb"),
        ("{{! nothing }}{{=<% %>=}}<% zero %>", "0"),
        ("no tags", "no tags"),
        ("", ""),
    ],
)
def test_tags_mean_what_mustache_says(template: str, text: str) -> None:
    assert render(template, DATA) == text


def test_numbers_print_with_six_digits_and_numpy_values_like_others() -> None:
    values = {"a": 1 / 3, "b": 300.0, "c": np.float32(0.1), "d": float("nan"), "e": 1e-12, "f": 12}
    assert render("{{a}} {{b}} {{c}} [{{d}}] {{e}} {{f}}", values) == (
        "0.333333 300 0.1 [] 1e-12 12"
    )
    assert render("{{#v}}{{.}},{{/v}} {{{v}}}", {"v": np.array([1, 2])}) == "1,2, [1,2]"


@pytest.mark.parametrize(
    "template",
    [
        "{{#open}}",
        "{{/closed}}",
        "{{#a}}{{/b}}",
        "{{unclosed",
        "{{}}",
        "{{=bad}}",
        "{{> partial}}",
        "{{#a}}" * 50 + "{{/a}}" * 50,
        "{{a}}" * MAX_LENGTH,
    ],
)
def test_a_broken_template_is_a_bad_parameter(template: str) -> None:
    with pytest.raises(ParameterError, match=r"output\.template"):
        render(template, DATA)


@pytest.mark.parametrize(
    "template",
    [
        "{{text.__class__}}",
        "{{list.append}}",
        "{{#text.format}}{0.__class__}{{/text.format}}",
        "{{#list.append}}x{{/list.append}}",
        "{{yes.real}}{{zero.numerator}}{{deep.keys}}{{deep.__len__}}",
    ],
)
def test_a_template_reaches_values_and_no_python(template: str) -> None:
    assert render(template, DATA) == ""


def test_sections_in_each_other_are_bounded() -> None:
    rows = {"rows": [{"n": number} for number in range(300)]}
    template = "{{#rows}}" * 3 + "{{n}}" + "{{/rows}}" * 3
    with pytest.raises(ParameterError, match="steps"):
        render(template, rows)


def test_cut_templates_are_kept_up_to_a_bound() -> None:
    most = parse.cache_info().maxsize
    assert most is not None
    for number in range(2 * most):
        render(f"{{{{zero}}}}{number}", DATA)
    assert parse.cache_info().currsize == most


TAGS = st.sampled_from(
    [
        "{{text}}",
        "{{{text}}}",
        "{{zero}}",
        "{{deep.er.value}}",
        "{{missing}}",
        " ",
        "\n",
        "plain",
        "{{! comment }}",
        "{{#yes}}",
        "{{/yes}}",
        "{{#objects}}",
        "{{/objects}}",
        "{{^no}}",
        "{{/no}}",
        "{{n}}",
    ]
)


@given(st.lists(TAGS, max_size=12).map("".join))
def test_it_renders_as_chevron_does(template: str) -> None:
    try:
        expected = chevron.render(template, dict(DATA), partials_path=None)
    except chevron.ChevronError:
        with pytest.raises(ParameterError):
            render(template, DATA)
    else:
        assert render(template, DATA) == expected
