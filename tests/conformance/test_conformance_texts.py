"""Every Api: texts as strings, as bytes, as files and as lines."""

from __future__ import annotations

import pytest

from ddstream.api.envelope import Json
from tests.conformance.calls import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS: Json = {
    "parameters": {
        "input": {"connector": "txt", "characters": True, "sequence": 12, "read_forward": True},
        "mllib": {"template": "mlp", "nclasses": 3, "template_params": {"layers": [8]}},
    }
}


@pytest.mark.promise("predict.input.txt.characters", "predict.input.txt.sentences")
async def test_a_text_is_the_same_as_a_string_as_bytes_and_as_a_file(desk: Desk) -> None:
    await desk.create(TEXTS)
    texts = ["état d'âme", "plain words\nand a second line"]
    file = desk.folder / f"{desk.name}.txt"
    file.write_text(texts[0], encoding="utf-8")
    answer = await desk.predict([*texts, texts[0].encode(), str(file)], best=-1)
    first, second, raw, read = answer.body["predictions"]
    assert [each["uri"] for each in (first, second, raw, read)] == ["0", "1", "2", str(file)]
    assert first["classes"] == raw["classes"] == read["classes"] != second["classes"]
    assert len(first["classes"]) == 3
    service = (await desk.api.get_service(desk.name)).body
    assert (service["mltype"], service["parameters"]["input"]["sequence"]) == ("classification", 12)
