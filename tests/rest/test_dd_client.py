"""Programs written for the reference's client work unchanged against `serve`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.digits import write_digits
from tests.rest.dd_client import DD, DDCommunicationError

INPUT = {"connector": "image", "width": 32, "height": 32, "rgb": True, "scale": 0.0039}
MLLIB = {"template": "resnet18", "nclasses": 10}
ENDLESS = 1_000_000


def solver(iterations: int, *, resume: bool = False) -> dict[str, Any]:
    steps = {"iterations": iterations, "base_lr": 0.001, "solver_type": "ADAM"}
    return {"solver": steps, "net": {"batch_size": 8}, "resume": resume}


def create(dd: DD, folder: Path) -> Any:
    model = {"repository": str(folder / "model"), "create_repository": True}
    return dd.put_service("Digits", model, "handwritten", "torch", INPUT, MLLIB, {})


@pytest.mark.promise("python.client")
async def test_a_program_creates_predicts_and_deletes(dd: DD, tmp_path: Path) -> None:
    _, test = write_digits(tmp_path, train=1, test=1)
    images = [str(path) for path in sorted(test.glob("*/*.png"))]

    def program() -> None:
        assert create(dd, tmp_path) == {"status": {"code": 201, "msg": "Created"}}
        assert [each["name"] for each in dd.info()["head"]["services"]] == ["digits"]
        assert dd.get_service("digits")["body"]["mllib"] == "torch"
        found = dd.post_predict("digits", images[:2], {}, {}, {"best": 3})["body"]["predictions"]
        assert [each["uri"] for each in found] == images[:2]
        sent = dd.post_predict("digits", images[:2], {}, {}, {"best": 3}, use_base64=True)
        for one, other in zip(found, sent["body"]["predictions"], strict=True):
            assert one["classes"] == other["classes"]
        pixels = [cv2.imread(path) for path in images[:2]]
        arrays = dd.post_predict("digits", pixels, {}, {}, {"best": 3})["body"]["predictions"]
        for number, (one, other) in enumerate(zip(found, arrays, strict=True)):
            assert (other["uri"], other["classes"]) == (str(number), one["classes"])
        dd.set_return_format(dd.RETURN_JSON)
        assert json.loads(dd.info())["status"]["code"] == 200
        dd.set_return_format(dd.RETURN_NONE)
        assert dd.info() is None
        dd.set_return_format(dd.RETURN_PYTHON)
        with pytest.raises(DDCommunicationError) as taken:
            create(dd, tmp_path)
        assert (taken.value.code, "1014" in taken.value.data) == (409, True)
        assert dd.delete_service("digits", clear="full") == {"status": {"code": 200, "msg": "OK"}}
        with pytest.raises(DDCommunicationError, match="404"):
            dd.get_service("digits")

    await asyncio.to_thread(program)
    assert list((tmp_path / "model").iterdir()) == []


@pytest.mark.timeout(300)
@pytest.mark.promise("python.client", "train.blocking", "train.report")
async def test_a_program_trains_waits_follows_and_stops(dd: DD, tmp_path: Path) -> None:
    data = [str(folder) for folder in write_digits(tmp_path, train=4, test=1)]

    def program() -> None:
        create(dd, tmp_path)
        measure = {"measure": ["acc"]}
        report = dd.post_train("digits", data, {}, solver(2), measure, jasync=False)
        assert report["status"] == {"code": 201, "msg": "Created"}
        assert report["body"]["measure"]["iteration"] == 2.0
        assert report["head"]["time"] >= 0
        started = dd.post_train("digits", data, {}, solver(4, resume=True), measure)
        job = started["head"]["job"]
        final = dd.get_train("digits", job=job, timeout=100, measure_hist=True)
        assert final["head"]["status"] == "finished"
        assert len(final["body"]["measure_hist"]["train_loss_hist"]) >= 2
        with pytest.raises(DDCommunicationError) as gone:
            dd.get_train("digits", job=job)
        assert json.loads(gone.value.data)["status"]["dd_code"] == 1003
        endless = solver(ENDLESS, resume=True)
        job = dd.post_train("digits", data, {}, endless, measure)["head"]["job"]
        assert dd.get_train("digits", job=job)["head"]["status"] == "running"
        assert dd.delete_train("digits", job=job)["head"]["status"] == "terminated"
        dd.delete_service("digits")

    await asyncio.to_thread(program)
