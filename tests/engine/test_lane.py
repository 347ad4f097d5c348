"""The lane of a model: batches by pile-up, groups apart, a bad sample alone."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddstream.api.envelope import Answer
from ddstream.api.predict import Call
from ddstream.data import Batch, Outputs, Sample
from ddstream.engine.lane import Lane
from ddstream.engine.work import Item, Work
from ddstream.errors import DDError, InternalError, ParameterError, TimedOut


@dataclass
class Summing:
    """A model that sums pixels; it waits for `go` and refuses samples with a 13."""

    go: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)

    def forward(self, batch: Batch, call: Any) -> Outputs:
        self.go.wait(10)
        self.sizes.append(len(batch))
        x = batch.inputs["x"]
        if (x == 13).any():
            raise RuntimeError("unlucky")
        if (x == 14).any():
            raise ParameterError("fourteen")
        return {"output": x.sum(axis=1)}


@dataclass
class Plan:
    """The two members of a plan that a lane reads."""

    backend: Summing
    parameters: None = None
    group: Hashable = 0


class Finished:
    """Collects what a lane has finished."""

    def __init__(self, count: int) -> None:
        self.found: dict[str, Any] = {}
        self._left = threading.Semaphore(0)
        self._count = count

    def __call__(self, items: Sequence[Item], outputs: Outputs | DDError) -> None:
        for row, item in enumerate(items):
            value = outputs if isinstance(outputs, DDError) else outputs["output"][row]
            self.found[item.sample.uri] = value
            self._left.release()

    def wait(self) -> dict[str, Any]:
        for _ in range(self._count):
            assert self._left.acquire(timeout=10)
        return self.found


def nobody(result: Answer | DDError) -> None:
    """Nobody waits."""


def item(plan: Any, uri: str, values: Sequence[int], deadline: float | None = None) -> Item:
    work = Work(Call("s", ["x"], nobody, deadline=deadline), plan)
    return Item(work, 0, Sample(uri, {"x": np.array(values)}))


def test_what_piles_up_while_a_pass_runs_makes_the_next_batch() -> None:
    model, finished = Summing(), Finished(9)
    lane = Lane("t", 8, finished)
    lane.add([item(Plan(model), "0", [0])])
    # The first pass holds the lane with one sample, or none of them has begun: 8 at most follow.
    lane.add([item(Plan(model), str(n), [n]) for n in range(1, 9)])
    model.go.set()
    assert finished.wait() == {str(n): n for n in range(9)}
    lane.close()
    assert sum(model.sizes) == 9
    assert max(model.sizes) <= 8
    assert len(model.sizes) == 2


def test_samples_of_other_shapes_and_plans_never_share_a_pass() -> None:
    model, finished = Summing(), Finished(6)
    lane = Lane("t", 8, finished)
    one, other = Plan(model, group="a"), Plan(model, group="b")
    lane.add([item(one, "a", [1]), item(one, "b", [1, 1]), item(other, "c", [1])])
    lane.add([item(one, "d", [2]), item(one, "e", [2, 2]), item(other, "f", [2])])
    model.go.set()
    assert finished.wait() == {"a": 1, "b": 2, "c": 1, "d": 2, "e": 4, "f": 2}
    lane.close()
    assert max(model.sizes) <= 2


def test_a_bad_sample_stands_alone_and_its_neighbours_are_answered() -> None:
    model, finished = Summing(), Finished(9)
    lane = Lane("t", 8, finished)
    lane.add([item(Plan(model), "first", [0])])
    lane.add([item(Plan(model), str(n), [n]) for n in (1, 2, 13, 3, 14, 4, 5, 6)])
    model.go.set()
    found = finished.wait()
    lane.close()
    assert isinstance(found["13"], InternalError)
    assert "unlucky" in found["13"].detail
    assert isinstance(found["14"], ParameterError)
    assert {n: found[str(n)] for n in (1, 2, 3, 4, 5, 6)} == {n: n for n in (1, 2, 3, 4, 5, 6)}


def test_a_sample_whose_deadline_passed_costs_no_forward() -> None:
    model, finished = Summing(), Finished(2)
    model.go.set()
    lane = Lane("t", 8, finished)
    lane.add([item(Plan(model), "late", [1], deadline=1.0), item(Plan(model), "good", [2])])
    found = finished.wait()
    lane.close()
    assert isinstance(found["late"], TimedOut)
    assert found["good"] == 2
    assert model.sizes == [1]


def test_a_closed_lane_has_run_what_was_queued() -> None:
    model, finished = Summing(), Finished(50)
    model.go.set()
    lane = Lane("t", 4, finished)
    lane.add([item(Plan(model), str(n), [n]) for n in range(50)])
    lane.close()
    assert len(finished.wait()) == 50
