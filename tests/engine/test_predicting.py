"""Predict calls through a real engine: bounds, order, isolation, deadlines, what is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ddstream.api.envelope import Answer
from ddstream.api.parameters import envelope
from ddstream.api.predict import Call, PredictRequest
from ddstream.api.service import ServiceDefinition
from ddstream.backends import BACKENDS
from ddstream.engine.engine import Engine
from ddstream.errors import (
    DDError,
    InputError,
    InternalError,
    NoData,
    ServiceExists,
    ServiceNotFound,
    TimedOut,
    TooManyRequests,
)
from ddstream.settings import Settings
from tests.engine.probe import ProbeBackend

if "probe" not in BACKENDS:
    BACKENDS.add("probe", "tests.engine.probe:ProbeBackend")


def png(level: int, side: int = 8) -> bytes:
    return cv2.imencode(".png", np.full((side, side, 3), level, np.uint8))[1].tobytes()


def definition(folder: Path, **parameters: Any) -> ServiceDefinition:
    body = {
        "mllib": "probe",
        "model": {"repository": str(folder / "model"), "create_repository": True},
        "parameters": {
            "input": {"connector": "image", "width": 8, "height": 8},
            "mllib": {"nclasses": 2, **parameters.pop("mllib", {})},
            "output": parameters.pop("output", {}),
        },
    }
    return envelope(ServiceDefinition, {**body, **parameters})


def request(*data: Any, **parameters: Any) -> PredictRequest:
    raw = {"service": "p", "data": list(data), "parameters": parameters}
    return envelope(PredictRequest, raw)


async def in_flight(engine: Engine, calls: int) -> None:
    """Let the tasks run that submit so many calls."""
    for _ in range(1000):
        if engine.capacity().calls >= calls:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{engine.capacity().calls} of {calls} calls")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(roots=(tmp_path,), max_in_flight=40, decode_threads=2)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    ProbeBackend.go.set()
    ProbeBackend.sizes.clear()
    async with Engine(settings) as engine:
        yield engine
        ProbeBackend.go.set()


async def test_predictions_keep_the_order_of_the_data(engine: Engine, tmp_path: Path) -> None:
    await engine.create_service("p", definition(tmp_path))
    levels = [200, 10, 90, 10, 240]
    answer = await engine.predict(request(*(png(level) for level in levels)))
    predictions = answer.body["predictions"]
    assert [p["uri"] for p in predictions] == ["0", "1", "2", "3", "4"]
    assert [p["classes"][0]["cat"] for p in predictions] == ["0", "1", "1", "1", "0"]


async def test_one_bad_datum_fails_its_call_and_no_other(engine: Engine, tmp_path: Path) -> None:
    await engine.create_service("p", definition(tmp_path))
    results = await asyncio.gather(
        *(engine.predict(request(png(n))) for n in range(20)),
        engine.predict(request(png(1), b"no image", png(2))),
        engine.predict(request(png(255))),
        return_exceptions=True,
    )
    assert all(isinstance(result, Answer) for result in results[:20])
    assert isinstance(results[20], InputError)
    assert isinstance(results[21], InternalError)
    assert "snow blind" in results[21].detail


async def test_callers_are_batched_while_a_pass_runs(engine: Engine, tmp_path: Path) -> None:
    await engine.create_service("p", definition(tmp_path, mllib={"net": {"test_batch_size": 8}}))
    ProbeBackend.go.clear()
    calls = [asyncio.create_task(engine.predict(request(png(n)))) for n in range(33)]
    await in_flight(engine, 33)
    ProbeBackend.go.set()
    await asyncio.gather(*calls)
    assert sum(ProbeBackend.sizes) == 33
    assert 1 < max(ProbeBackend.sizes) <= 8
    assert len(ProbeBackend.sizes) < 33


@pytest.mark.promise("services.torch.concurrent_predict", "predict.torch.concurrent_predict")
async def test_without_concurrent_predict_calls_run_one_after_the_other(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path, mllib={"concurrent_predict": False}))
    await asyncio.gather(*(engine.predict(request(png(n), png(n))) for n in range(6)))
    # Each call's two images may share a pass; two calls never do.
    assert max(ProbeBackend.sizes) <= 2
    assert sum(ProbeBackend.sizes) == 12


async def test_more_calls_than_the_engine_takes_are_refused_at_once(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path))
    ProbeBackend.go.clear()
    calls = [asyncio.create_task(engine.predict(request(png(n)))) for n in range(40)]
    await in_flight(engine, 40)
    with pytest.raises(TooManyRequests):
        await engine.predict(request(png(1)))
    ProbeBackend.go.set()
    await asyncio.gather(*calls)
    assert (engine.capacity().calls, engine.capacity().nbytes) == (0, 0)
    await engine.predict(request(png(1)))


async def test_a_passed_deadline_costs_neither_decode_nor_forward(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path))
    answered: list[Answer | DDError] = []
    late = Call("p", [b"not even an image"], answered.append, raw=True, uris=["x"])
    late.deadline = time.time() - 1
    engine.submit([late])
    assert isinstance(answered[0], TimedOut)
    assert ProbeBackend.sizes == []


async def test_who_goes_away_costs_no_forward(engine: Engine, tmp_path: Path) -> None:
    await engine.create_service("p", definition(tmp_path))
    ProbeBackend.go.clear()
    first = asyncio.create_task(engine.predict(request(png(1))))
    gone = asyncio.create_task(engine.predict(request(*(png(n) for n in range(30)))))
    await in_flight(engine, 2)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    ProbeBackend.go.set()
    await first
    await engine.predict(request(png(3)))
    assert sum(ProbeBackend.sizes) < 20


async def test_a_folder_larger_than_the_pipeline_is_read_as_it_is_predicted(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path))
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}.png").write_bytes(png(number % 250))
    answer = await engine.predict(request(str(folder)))
    uris = [p["uri"] for p in answer.body["predictions"]]
    assert uris == sorted(str(file) for file in folder.iterdir())


async def test_options_of_creation_are_defaults_and_a_call_s_never_stay(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path, output={"best": 2}))
    assert len(await _classes(engine)) == 2
    assert len(await _classes(engine, output={"best": 1})) == 1
    assert len(await _classes(engine)) == 2


async def _classes(engine: Engine, **parameters: Any) -> list[Any]:
    answer = await engine.predict(request(png(1), **parameters))
    classes: list[Any] = answer.body["predictions"][0]["classes"]
    return classes


async def test_calls_are_counted_as_the_document_says(engine: Engine, tmp_path: Path) -> None:
    await engine.create_service("p", definition(tmp_path))
    assert engine.stats("p")["avg_batch_size"] == -1
    await engine.predict(request(png(1), png(2), png(3)))
    with pytest.raises(InputError):
        await engine.predict(request(b"no image"))
    stats = engine.stats("p")
    assert (stats["inference_count"], stats["predict_count"]) == (3, 2)
    assert (stats["predict_success"], stats["predict_failure"]) == (1, 1)
    assert stats["avg_batch_size"] == 1.5
    assert 0 < stats["avg_predict_duration_s"] == stats["avg_predict_duration_ms"] / 1e3


async def test_a_service_is_deleted_after_what_it_has_in_hand(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path))
    ProbeBackend.go.clear()
    calls = [asyncio.create_task(engine.predict(request(png(n)))) for n in range(10)]
    await in_flight(engine, 10)
    deleting = asyncio.create_task(engine.delete_service("p"))
    await asyncio.sleep(0)
    with pytest.raises(ServiceNotFound):
        await engine.predict(request(png(1)))
    ProbeBackend.go.set()
    await deleting
    assert all(isinstance(result, Answer) for result in await asyncio.gather(*calls))


async def test_two_creations_of_one_name_at_once_make_one_service(
    engine: Engine, tmp_path: Path
) -> None:
    results = await asyncio.gather(
        *(engine.create_service("P", definition(tmp_path)) for _ in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == [
        "Answer",
        *["ServiceExists"] * 3,
    ]
    assert ServiceExists.dd_code == 1014


@pytest.mark.promise("errors.code.1001")
async def test_no_data_is_1001(engine: Engine, tmp_path: Path) -> None:
    await engine.create_service("p", definition(tmp_path))
    with pytest.raises(NoData):
        await engine.predict(request())


@pytest.mark.promise("services.input.timeout", "predict.input.timeout")
async def test_input_timeout_bounds_the_fetch_of_a_url(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = Settings(roots=(tmp_path,), fetch_allow=("127.0.0.1",))
    ProbeBackend.go.set()
    async with server, Engine(settings) as engine:
        await engine.create_service("p", definition(tmp_path))
        began = time.monotonic()
        with pytest.raises(InputError, match=r"127\.0\.0\.1"):
            await engine.predict(request(f"http://127.0.0.1:{port}/a.png", input={"timeout": 1}))
        assert time.monotonic() - began < 10
        body = definition(tmp_path).model_dump(by_alias=True)
        body["parameters"]["input"]["timeout"] = 1
        await engine.create_service("q", envelope(ServiceDefinition, body))
        began = time.monotonic()
        asked = PredictRequest(service="q", data=[f"http://127.0.0.1:{port}/a.png"])
        with pytest.raises(InputError):
            await engine.predict(asked)
        assert time.monotonic() - began < 10
