"""What the engine answers over HTTP fits the OpenAPI description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ddstream.api.parameters import merged
from ddstream.engine.engine import Engine
from ddstream.rest.app import app
from ddstream.rest.server import Server
from ddstream.settings import Settings
from tests.digits import write_digits
from tests.rest.conftest import Http
from tests.rest.schema import check

INPUT = {"connector": "image", "width": 32, "height": 32, "rgb": True}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[Http]:
    members: dict[str, Any] = {"roots": str(tmp_path)}
    settings = Settings(**members)
    async with (
        Engine(settings) as engine,
        Server(app(engine, settings), "127.0.0.1", 0) as server,
        aiohttp.ClientSession() as session,
    ):
        yield Http(session, server.url)


def definition(folder: Path, mllib: dict[str, Any]) -> dict[str, Any]:
    return {
        "mllib": "torch",
        "model": {"repository": str(folder), "create_repository": True},
        "parameters": {"input": INPUT, "mllib": {"template": "resnet18", **mllib}},
    }


async def test_answers_about_services_and_predictions_fit(http: Http, tmp_path: Path) -> None:
    _, test = write_digits(tmp_path, train=1, test=1)
    data = [str(path) for path in sorted(test.glob("*/*.png"))[:2]]
    calls: list[tuple[str, str, Any, int, str]] = []
    for name, mllib in (("classes", {"nclasses": 10}), ("values", {"ntargets": 2})):
        body = definition(tmp_path / name, mllib)
        ask = {"service": name, "data": data}
        layer = {**ask, "parameters": {"mllib": {"extract_layer": "last"}}}
        calls += [
            ("PUT", f"/services/{name}", body, 201, "/services/{name}"),
            ("POST", f"/services/{name}", body, 409, "/services/{name}"),
            ("GET", f"/services/{name}?labels=true", None, 200, "/services/{name}"),
            ("POST", "/predict", ask, 200, "/predict"),
            ("POST", "/predict", layer, 200, "/predict"),
            ("POST", "/predict", {**ask, "data": ["/nowhere"]}, 400, "/predict"),
            ("GET", "/info?status=true", None, 200, "/info"),
        ]
    calls.append(("DELETE", "/services/values?clear=dir", None, 200, "/services/{name}"))
    for method, path, asked, code, route in calls:
        answer = await http(method, path, asked)
        assert answer.status == code, (method, path, answer.content)
        check(method, route, code, answer.json)


@pytest.mark.timeout(300)
@pytest.mark.promise("info.status", "train.get.job")
async def test_answers_about_trainings_fit(http: Http, tmp_path: Path) -> None:
    data = [str(folder) for folder in write_digits(tmp_path, train=4, test=1)]
    await http("PUT", "/services/x", definition(tmp_path / "model", {"nclasses": 10}))
    steps = {"iterations": 2, "base_lr": 0.001, "solver_type": "ADAM"}
    mllib = {"solver": steps, "net": {"batch_size": 8}}
    train = {
        "service": "x",
        "data": data,
        "parameters": {"mllib": mllib, "output": {"measure": ["acc", "f1", "cmdiag"]}},
    }
    further = {"parameters": {"mllib": {"solver": {"iterations": 4}, "resume": True}}}
    job = "/train?service=x&job=1"
    history = "parameters.output.measure_hist=true"
    for method, path, asked, code in (
        ("POST", "/train", train, 201),
        ("GET", job, None, 200),
        ("GET", f"{job}&timeout=100&{history}", None, 200),
        ("GET", job, None, 404),
        ("PUT", "/train", merged(train, {"async": False, **further}), 201),
        ("DELETE", job, None, 404),
        ("POST", "/train", {**train, "data": []}, 400),
    ):
        answer = await http(method, path, asked)
        assert answer.status == code, (method, path, answer.content)
        check(method, "/train", code, answer.json)
        if (method, code) == ("POST", 201):
            await check_info(http)


async def check_info(http: Http) -> None:
    """Jobs are told when they are asked for."""
    (plain,) = (await http("GET", "/info")).json["head"]["services"]
    assert "jobs" not in plain
    told = await http("GET", "/info?status=true")
    check("GET", "/info", 200, told.json)
    (service,) = told.json["head"]["services"]
    assert [(job["job"], job["status"]) for job in service["jobs"]] == [(1, "running")]
    assert service["training"] is True


@pytest.mark.promise("services.type", "services.model")
async def test_the_type_of_a_service_decides_between_classes_and_values(
    http: Http, tmp_path: Path
) -> None:
    _, test = write_digits(tmp_path, train=1, test=1)
    image = str(next(test.glob("*/*.png")))
    found = {}
    for kind in ("supervised", "unsupervised"):
        body = definition(tmp_path / kind, {"nclasses": 10}) | {"type": kind}
        assert (await http("PUT", f"/services/{kind}", body)).status == 201
        assert (tmp_path / kind / "config.json").exists()
        answer = await http("POST", "/predict", {"service": kind, "data": [image]})
        check("POST", "/predict", 200, answer.json)
        (found[kind],) = answer.json["body"]["predictions"]
        assert (await http("GET", f"/services/{kind}")).json["body"]["type"] == kind
    assert len(found["supervised"]["classes"]) == 1
    assert found["unsupervised"]["classes"] == []
    assert len(found["unsupervised"]["vals"]) > 0
