"""Scenario d: a training killed at random steps, its trainer or its whole worker, against an
unbroken one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import torch

from ddstream.api.envelope import Answer, Json
from ddstream.api.parameters import envelope
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import JobQuery, TrainRequest
from ddstream.settings import Settings
from ddstream.stream.client import KafkaApi
from ddstream.stream.connection import Connection
from tests.backends.digit_sets import TinyNet
from tests.chaos.cluster import Cluster
from tests.chaos.fleet import Fleet, Member
from tests.chaos.ledger import Figures, Violated
from tests.digits import write_digits

ITERATIONS = 800
FINISH_SECONDS = 600
KINDS = ("worker", "trainer", "stop")
TRAINER = b"ddstream.engine.trainer"
EXACT = ("train_loss", "learning_rate", "acc", "f1")
"""Series and measures that must come out equal; the others are times."""


@dataclass(slots=True)
class Ground:
    """The parts of a run, and what was seen."""

    folder: Path
    api: KafkaApi
    fleet: Fleet
    chance: random.Random
    kinds: list[str] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each kill until the training was further than ever before."""

    def definition(self, name: str) -> ServiceDefinition:
        """A tiny net for digits, in a repository of its own."""
        body = {
            "mllib": "torch",
            "model": {"repository": str(self.folder / name)},
            "parameters": {
                "input": {"connector": "image", "width": 8, "height": 8, "bw": True},
                "mllib": {"nclasses": 10},
            },
        }
        return envelope(ServiceDefinition, body)

    def request(self, name: str) -> TrainRequest:
        """Shuffled and varied digits, with tests, the best model and checkpoints on the way."""
        solver = {
            "iterations": ITERATIONS,
            "solver_type": "ADAM",
            "base_lr": 1e-4,
            "test_interval": 150,
            "snapshot_interval": 0.5,
        }
        mllib = {"solver": solver, "net": {"batch_size": 8}, "mirror": True}
        parameters = {
            "input": {"scale": 1 / 255, "shuffle": True, "seed": 7},
            "mllib": mllib,
            "output": {"measure": ["acc", "f1"]},
        }
        data = [str(self.folder / part) for part in ("train", "test")]
        return envelope(TrainRequest, {"service": name, "data": data, "parameters": parameters})

    async def job(self, name: str, seconds: int = 0) -> Answer:
        """GET /train, with the history."""
        output = {"output": {"measure_hist": True, "max_hist_points": 10**9}}
        query = {"service": name, "job": 1, "timeout": seconds, "parameters": output}
        return await self.api.get_job(envelope(JobQuery, query))

    async def start(self, name: str) -> None:
        """Make a service and begin to train it."""
        repository = self.folder / name
        repository.mkdir()
        (repository / "tiny.pt").write_bytes(_traced())
        await self.api.create_service(name, self.definition(name))
        await self.api.train(self.request(name))

    async def at(self, name: str, iteration: int) -> int:
        """Wait until the training has come so far; the iteration that it shows."""
        end = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < end:
            live = await self.job(name)
            if live.head["status"] != "running":
                raise Violated([f"ended too early: {live.json()}"], {})
            found = int(live.body["measure"].get("iteration", 0))
            if found >= iteration:
                return found
            await asyncio.sleep(0.05)
        raise Violated([f"iteration {iteration} was not reached"], {})

    async def kill(self, kind: str) -> None:
        """Kill the trainer, or the worker that has it, or ask that one to end; a worker comes
        back. Return when another trainer runs."""
        found = _trainer(self.fleet.members)
        assert found is not None
        member, trainer = found
        if kind == "trainer":
            os.kill(trainer, signal.SIGKILL)
        else:
            end_it = self.fleet.kill if kind == "worker" else self.fleet.stop
            await end_it(member)
            await self.fleet.start(member)
        end = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < end:
            found = _trainer(self.fleet.members)
            if found is not None and found[1] != trainer:
                return
            await asyncio.sleep(0.05)
        raise Violated(["no other trainer was started"], {})


def _trainer(members: Sequence[Member]) -> tuple[Member, int] | None:
    """The worker that trains, and its trainer's process."""
    for member in members:
        for pid in _children(member):
            with suppress(OSError):
                if TRAINER in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return member, pid
    return None


def _children(member: Member) -> list[int]:
    assert member.process is not None
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{member.process.pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


async def run(kills: int, seed: int) -> Figures:
    """Train twice, kill one of them, compare all that a client can see, and the weights.

    Raises Violated where they differ.
    """
    with tempfile.TemporaryDirectory(prefix="ddstream-trainings-") as path:
        folder = Path(path)
        async with Cluster(folder) as cluster:
            return await survived(cluster.bootstrap, folder, kills, seed)


async def survived(bootstrap: str, folder: Path, kills: int, seed: int) -> Figures:
    """The same, on a broker that is there."""
    # Tiny tensors: threads that wait for each other cost more than they give.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    write_digits(folder, train=20, test=5)
    chance = random.Random(seed)
    settings = Settings(
        bootstrap=bootstrap,
        prefix=f"trainings-{chance.getrandbits(32):08x}",
        partitions=3,
        roots=(folder,),
        request_timeout=180,
    )
    async with (
        Fleet(settings, folder, 2) as fleet,
        KafkaApi(Connection(settings)) as api,
    ):
        await fleet.ready()
        ground = Ground(folder, api, fleet, chance)
        await ground.start("whole")
        whole = await ground.job("whole", FINISH_SECONDS)
        await ground.start("broken")
        await _disturb(ground, kills)
        broken = await ground.job("broken", FINISH_SECONDS)
        problems = [*_differences(whole, broken), *_weights(folder)]
        figures = _figures(ground, kills, broken)
    if problems:
        raise Violated(problems, figures)
    return figures


async def _disturb(ground: Ground, kills: int) -> None:
    kinds = [KINDS[number % len(KINDS)] for number in range(kills)]
    ground.chance.shuffle(kinds)
    ground.kinds = kinds
    steps = sorted(ground.chance.sample(range(30, ITERATIONS - 200), kills))
    for kind, step in zip(kinds, steps, strict=True):
        await ground.at("broken", step)
        began = time.monotonic()
        await ground.kill(kind)
        # By now the dead one's last words are there: what is more, the next one has done.
        shown = await ground.at("broken", 0)
        await ground.at("broken", shown + 1)
        ground.recoveries.append(time.monotonic() - began)


def _figures(ground: Ground, kills: int, broken: Answer) -> Figures:
    return {
        "kills": kills,
        "of these": " ".join(ground.kinds),
        "iterations": ITERATIONS,
        "seconds of the broken one": int(broken.head.get("time", 0)),
        "longest recovery s": round(max(ground.recoveries, default=0.0), 1),
        "all recoveries s": " ".join(f"{each:.1f}" for each in ground.recoveries),
    }


def _differences(whole: Answer, broken: Answer) -> Iterator[str]:
    for answer in (whole, broken):
        if answer.head["status"] != "finished":
            yield f"not finished: {answer.json()}"
            return
    yield from _unequal(
        "measure", _numbers(whole.body["measure"]), _numbers(broken.body["measure"])
    )
    expected, found = whole.body["measure_hist"], broken.body["measure_hist"]
    lengths = {name: len(values) for name, values in expected.items()}
    if lengths != (others := {name: len(values) for name, values in found.items()}):
        yield f"lengths of the history: {others}, not {lengths}"
    for name in EXACT:
        yield from _unequal(name, expected[f"{name}_hist"], found[f"{name}_hist"])


def _numbers(measure: Json) -> list[float]:
    return [float(measure[name]) for name in ("iteration", "train_loss", "acc", "f1")]


def _unequal(name: str, expected: Sequence[float], found: Sequence[float]) -> Iterator[str]:
    for place, (one, other) in enumerate(zip(expected, found, strict=False)):
        if not isclose(one, other, rel_tol=1e-5, abs_tol=1e-7):
            yield f"{name} differs from point {place} on: {other}, not {one}"
            return


def _weights(folder: Path) -> Iterator[str]:
    one, other = (_state(folder / name) for name in ("whole", "broken"))
    for name, value in one.items():
        if not torch.allclose(value, other[name], rtol=1e-5, atol=1e-7):
            yield f"the weights {name} differ"
    best = [(folder / name / "best_model.txt").read_text() for name in ("whole", "broken")]
    if best[0] != best[1]:
        yield f"the best model: {best[1]!r}, not {best[0]!r}"


def _traced() -> bytes:
    """The net with its first weights, which are always the same."""
    torch.manual_seed(0)
    with catch_warnings(action="ignore", category=FutureWarning):
        net: Any = torch.jit.script(TinyNet())
    content: bytes = net.save_to_buffer()
    return content


def _state(repository: Path) -> Mapping[str, torch.Tensor]:
    with catch_warnings(action="ignore", category=FutureWarning):
        net: Any = torch.jit.load(repository / f"checkpoint-{ITERATIONS}.pt")  # type: ignore[no-untyped-call]
    return dict(net.state_dict())
