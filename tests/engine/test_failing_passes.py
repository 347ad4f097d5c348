"""Failing passes through a real engine: memory, bad samples, hanging models, lost devices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ddstream.api.envelope import Answer
from ddstream.engine.engine import Engine
from ddstream.errors import DDError, InternalError, ServiceNotFound
from ddstream.settings import Settings
from tests.engine.probe import ProbeBackend
from tests.engine.services import (
    Grey,
    Patient,
    chance,
    definition,
    in_flight,
    levels,
    png,
    request,
    scripted,
    until,
)

HANGING = {"forward_timeout": 0.3}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(roots=(tmp_path,), decode_threads=2)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    ProbeBackend.go.set()
    ProbeBackend.sizes.clear()
    async with asyncio.timeout(120), Engine(settings) as engine:
        yield engine
    ProbeBackend.go.set()


def limit(service: str) -> float | None:
    return REGISTRY.get_sample_value("ddstream_batch_limit_samples", {"service": service})


async def test_a_torch_model_without_memory_answers_all_in_smaller_batches(
    engine: Engine, tmp_path: Path
) -> None:
    scripted(tmp_path, Grey())
    await engine.create_service("p", definition(tmp_path, "torch"))
    assert limit("p") == 16
    answers = await asyncio.gather(
        *(engine.predict(request("p", *(png(n + 5 * m) for m in range(20)))) for n in range(5))
    )
    for n, answer in enumerate(answers):
        assert levels(answer) == pytest.approx([chance(n + 5 * m) for m in range(20)], abs=1e-5)
    assert limit("p") == 4


async def test_a_batch_of_a_torch_model_loses_its_bad_samples_and_no_other(
    engine: Engine, tmp_path: Path
) -> None:
    scripted(tmp_path, Patient())
    await engine.create_service("p", definition(tmp_path, "torch"))
    white = {0, 5, 6, 15, 31}
    results = await asyncio.gather(
        *(engine.predict(request("p", png(255 if n in white else n))) for n in range(32)),
        return_exceptions=True,
    )
    failed = {n: result for n, result in enumerate(results) if isinstance(result, DDError)}
    assert set(failed) == white
    assert all("snow blind" in error.detail for error in failed.values())
    assert len({error.detail for error in failed.values()}) == len(white)
    for n, result in enumerate(results):
        if isinstance(result, Answer):
            assert levels(result) == pytest.approx([chance(n)], abs=1e-5)


@pytest.mark.parametrize("most", [1, 3, 16])
async def test_samples_of_many_calls_come_back_to_their_own(
    engine: Engine, tmp_path: Path, most: int
) -> None:
    scripted(tmp_path, Patient())
    asked = definition(tmp_path, "torch", mllib={"net": {"test_batch_size": most}})
    await engine.create_service("p", asked)
    dice = random.Random(most)
    calls = [[dice.randrange(255) for _ in range(dice.randrange(1, 40))] for _ in range(30)]
    answers = await asyncio.gather(
        *(engine.predict(request("p", *(png(level) for level in call))) for call in calls)
    )
    for call, answer in zip(calls, answers, strict=True):
        assert levels(answer) == pytest.approx([chance(level) for level in call], abs=1e-5)


async def test_a_pass_that_hangs_fails_its_service_and_no_other(
    engine: Engine, tmp_path: Path
) -> None:
    scripted(tmp_path / "sound", Patient())
    await engine.create_service("sound", definition(tmp_path / "sound", "torch"))
    await engine.create_service("p", definition(tmp_path, stream=HANGING))
    assert await engine.predict(request("p", png(1)))
    assert (engine.fatal(), await engine.health()) == ("", ())
    ProbeBackend.go.clear()
    calls = [engine.predict(request("p", *([png(n)] * (n + 1)))) for n in range(40)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    said = "service p: a forward pass took longer than forward_timeout (0.3 s)"
    assert {str(result) for result in results} == {said}
    assert all(isinstance(r, InternalError) and r.severity == "fatal" for r in results)
    assert (engine.fatal(), await engine.health()) == (said, (said,))
    with pytest.raises(InternalError, match="forward_timeout"):
        await engine.predict(request("p", png(1)))
    assert levels(await engine.predict(request("sound", png(7)))) == pytest.approx([chance(7)])
    assert engine.capacity().calls == 0


async def test_a_hanging_service_can_be_deleted_and_is_not_forgotten(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path, stream=HANGING))
    ProbeBackend.go.clear()
    call = asyncio.create_task(engine.predict(request("p", png(1))))
    await in_flight(engine, 1)
    await engine.delete_service("p")
    with pytest.raises(InternalError):
        await call
    with pytest.raises(ServiceNotFound):
        await engine.predict(request("p", png(1)))
    assert "service p" in engine.fatal()


async def test_an_engine_whose_model_hangs_can_be_closed(
    tmp_path: Path, settings: Settings
) -> None:
    ProbeBackend.go.set()
    try:
        async with asyncio.timeout(60), Engine(settings) as engine:
            await engine.create_service("p", definition(tmp_path, stream=HANGING))
            ProbeBackend.go.clear()
            call = asyncio.create_task(engine.predict(request("p", png(1))))
            await in_flight(engine, 1)
        with pytest.raises(InternalError, match="forward_timeout"):
            await call
    finally:
        ProbeBackend.go.set()


async def test_without_concurrent_predict_a_hang_fails_those_who_wait_too(
    engine: Engine, tmp_path: Path
) -> None:
    asked = definition(tmp_path, mllib={"concurrent_predict": False}, stream=HANGING)
    await engine.create_service("p", asked)
    ProbeBackend.go.clear()
    calls = [engine.predict(request("p", png(n))) for n in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(r, InternalError) and r.severity == "fatal" for r in results)


async def test_a_lost_device_fails_what_waits_and_what_comes(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path))
    results = await asyncio.gather(
        *(engine.predict(request("p", png(254))) for _ in range(50)), return_exceptions=True
    )
    said = "service p: a forward pass left its device unusable: CUDA error: device-side assert"
    assert all(isinstance(r, InternalError) and r.detail.startswith(said) for r in results)
    assert len(ProbeBackend.sizes) == 1
    assert engine.fatal().startswith(said)
    with pytest.raises(InternalError, match="unusable"):
        await engine.predict(request("p", png(1)))


async def test_an_old_model_is_not_freed_while_a_pass_uses_it(
    engine: Engine, tmp_path: Path
) -> None:
    await engine.create_service("p", definition(tmp_path))
    old = engine._service("p").backend
    assert isinstance(old, ProbeBackend)
    ProbeBackend.go.clear()
    # Eight good images are in a pass when the ninth datum ends the call.
    call = asyncio.create_task(engine.predict(request("p", *([png(1)] * 8), b"no image")))
    with pytest.raises(DDError):
        await call
    await engine.reload("p")
    await asyncio.sleep(0.1)
    assert not old.closed
    ProbeBackend.go.set()
    await until(lambda: old.closed)
    assert await engine.predict(request("p", png(1)))
