"""What templates there are, and what each of them takes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ddstream.commands.workflow.models import kind
from ddstream.templates import PARAMETERS, TEMPLATES
from tests.commands.conftest import Command


@pytest.mark.promise("python.cli")
def test_every_template_is_listed_with_its_parameters(deepdetect: Command) -> None:
    assert set(PARAMETERS) == set(TEMPLATES)
    listed = deepdetect("models", "--json", ddstream=True)
    assert (listed.code, listed.err) == (0, "")
    models = {each["name"]: each for each in orjson.loads(listed.out)}
    assert list(models) == sorted(TEMPLATES)
    for model in models.values():
        assert model["task"]
        assert model["connector"]
        for parameter in model["parameters"]:
            assert parameter["name"]
            assert parameter["type"]
            # Each says in a sentence what it is.
            assert parameter["description"].endswith(".")
    flavour = {each["name"]: each for each in models["yolox"]["parameters"]}["yolox_flavor"]
    assert (flavour["type"], flavour["default"]) == ("string", "yolox_s")
    assert models["yolox"]["task"] == "detection"
    assert models["segformer"]["connector"] == "image"
    assert models["gpt2"]["task"] == "language"


def test_one_template_is_looked_into(deepdetect: Command) -> None:
    (vit,) = deepdetect("inspect", "models", "vit", "--output-format", "jsonl").events
    assert (vit["event"], vit["name"]) == ("model", "vit")
    shown = deepdetect("models", "vit", ddstream=True).out
    for parameter in vit["parameters"]:
        assert parameter["name"] in shown
    missing = deepdetect("inspect", "models", "vitt")
    assert missing.code == 2
    assert missing.err.startswith("error: there is no template vitt; there is: bert, ")


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (int | None, "int"),
        (str, "string"),
        (tuple[float, ...], "list of float"),
        (list[int | str], "list of int | string"),
        (dict[str, int], "object"),
        (Any, "any"),
    ],
)
def test_types_are_told_in_words(annotation: Any, said: str) -> None:
    assert kind(annotation) == said
