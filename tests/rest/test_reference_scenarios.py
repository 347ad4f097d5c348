"""What the reference's own suite asks of a server over HTTP (contract 9.1)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.rest.dd_client import DD, DDCommunicationError

NAME = "My_Service_\N{ROBOT FACE}"
KEPT = "my_service_\N{ROBOT FACE}"


def create(dd: DD, folder: Path, name: str = NAME, mllib: str = "torch") -> Any:
    model = {"repository": str(folder), "create_repository": True}
    inputs = {"connector": "image", "width": 32, "height": 32}
    return dd.put_service(
        name, model, "", mllib, inputs, {"template": "resnet18", "nclasses": 2}, {}
    )


def refusal(error: DDCommunicationError) -> tuple[int, int | None, str]:
    """HTTP status, dd_code and dd_msg."""
    status = json.loads(error.data)["status"]
    assert status["code"] == error.code
    return error.code, status.get("dd_code"), status.get("dd_msg", "")


@pytest.mark.promise("python.client")
async def test_a_service_with_an_emoji_in_its_name_is_known_by_all_its_spellings(
    dd: DD, tmp_path: Path
) -> None:
    def program() -> None:
        info = dd.info()
        assert "services" in info["head"]
        assert info["head"]["services"] == []
        assert create(dd, tmp_path / "model")["status"] == {"code": 201, "msg": "Created"}
        body = dd.get_service(NAME)["body"]
        assert (body["name"], body["mllib"], body["jobs"]) == (KEPT, "torch", [])
        assert body["model_stats"]["params"] == 11177538
        assert set(body["parameters"]) >= {"input", "mllib", "output"}
        assert body["parameters"]["input"]["connector"] == "image"
        for name in (NAME, KEPT, NAME.upper()):
            assert dd.get_service(name)["body"]["name"] == KEPT
        assert dd.delete_service(NAME) == {"status": {"code": 200, "msg": "OK"}}
        assert dd.info()["head"]["services"] == []
        with pytest.raises(DDCommunicationError) as gone:
            dd.get_service(NAME)
        assert refusal(gone.value)[:2] == (404, 1002)

    await asyncio.to_thread(program)


async def test_labels_are_asked_for_in_all_words_of_truth(dd: DD, tmp_path: Path) -> None:
    def program() -> None:
        create(dd, tmp_path / "model", "labels")
        for word, told in (("1", True), ("true", True), ("0", False), ("false", False)):
            body = dd.get("/services/labels", {"labels": word})["body"]
            assert ("labels" in body) == told
            assert body.get("labels", []) == []
        with pytest.raises(DDCommunicationError) as wrong:
            dd.get("/services/labels", {"labels": "garbage"})
        assert wrong.value.code == 400

    await asyncio.to_thread(program)


async def test_retired_libraries_say_where_to_go(dd: DD, tmp_path: Path) -> None:
    def program() -> None:
        for mllib in ("caffe", "caffe2", "tf", "tensorflow"):
            with pytest.raises(DDCommunicationError) as retired:
                create(dd, tmp_path / "model", mllib=mllib)
            code, dd_code, text = refusal(retired.value)
            assert (code, dd_code) == (400, 1006)
            assert "Torch or ONNX/TensorRT" in text
        with pytest.raises(DDCommunicationError) as unknown:
            create(dd, tmp_path / "model", mllib="abacus")
        assert refusal(unknown.value)[:2] == (404, 1000)
        assert dd.info()["head"]["services"] == []

    await asyncio.to_thread(program)


async def test_nobody_is_asked_by_a_wrong_name(dd: DD) -> None:
    def program() -> None:
        with pytest.raises(DDCommunicationError) as unknown:
            dd.post_predict("nobody", ["a.png"], {}, {}, {})
        assert refusal(unknown.value)[:2] == (404, 1002)

    await asyncio.to_thread(program)
