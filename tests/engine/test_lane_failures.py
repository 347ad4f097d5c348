"""Passes that fail: a bad sample alone, too little memory, a pass that hangs, a lost device."""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from ddstream.engine import limits
from ddstream.engine.lane import Lane
from ddstream.engine.limits import BatchLimits
from ddstream.engine.meters import Meters
from ddstream.errors import DDError, InternalError, ParameterError
from tests.engine.lanes import Finished, Plan, Summing, item, items, lane


def held_back(model: Summing, running: Lane, more: Callable[[], None]) -> None:
    """Let one pass begin, do `more` while it runs, and let it go on: `more` makes one batch."""
    running.add(items(model, [1000]))
    assert model.begun.wait(30)
    more()
    model.go.set()


def test_a_bad_sample_stands_alone_and_its_neighbours_are_answered() -> None:
    model, finished = Summing(), Finished(9)
    with lane(finished) as running:
        held_back(model, running, lambda: running.add(items(model, (1, 2, 13, 3, 14, 4, 5, 6))))
        found = finished.wait()
    assert isinstance(found["13"], InternalError)
    assert "unlucky" in found["13"].detail
    assert isinstance(found["14"], ParameterError)
    assert found["13"].severity == found["14"].severity == "permanent"
    assert {n: found[str(n)] for n in range(1, 7)} == {n: n for n in range(1, 7)}


@pytest.mark.parametrize("bad", [1, 2, 3, 5, 16])
def test_several_bad_samples_cost_passes_by_the_logarithm_of_the_batch(bad: int) -> None:
    model, finished = Summing(), Finished(17)
    where = set(random.Random(bad).sample(range(16), bad))
    values = [(13 if n in where else 100 + n) for n in range(16)]
    batch = [item(Plan(model), str(n), [value]) for n, value in enumerate(values)]
    with lane(finished, 16) as running:
        held_back(model, running, lambda: running.add(batch))
        found = finished.wait()
    failed = {int(uri) for uri, value in found.items() if isinstance(value, DDError)}
    assert failed == where
    assert len({id(found[str(n)]) for n in where}) == bad
    # The held pass, the batch, and two halves at each of log2(16) levels for a bad sample.
    assert len(model.sizes) - 2 <= min(2 * bad * math.log2(16), 30)


def test_a_pass_without_memory_is_halved_and_the_size_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, finished = Summing(room=5), Finished(33)
    with lane(finished, 16) as running, caplog.at_level(logging.WARNING):
        held_back(model, running, lambda: running.add(items(model, range(100, 132))))
        found = finished.wait()
        limit = REGISTRY.get_sample_value("ddstream_batch_limit_samples", {"service": "lane"})
    assert {n: found[str(n)] for n in range(100, 132)} == {n: n for n in range(100, 132)}
    # 16 and 8 fail once each; after that no pass is larger than what was enough.
    assert model.sizes == [1, 16, 8, *[4] * 8]
    assert limit == 4
    assert [line for line in caplog.messages if "from now on" in line] == [
        "lane: 16 samples in one pass ran out of memory; batches have at most 8 from now on",
        "lane: 8 samples in one pass ran out of memory; batches have at most 4 from now on",
    ]


def test_the_size_is_remembered_for_its_group_alone() -> None:
    model, roomy, finished = Summing(room=2), Summing(), Finished(17)
    roomy.go.set()
    small = [item(Plan(model, group="a"), str(n), [n]) for n in range(100, 108)]
    large = [item(Plan(roomy, group="b"), str(n), [n]) for n in range(200, 208)]
    with lane(finished) as running:
        held_back(model, running, lambda: running.add([*small, *large]))
        assert len(finished.wait()) == 17
    assert model.sizes == [1, 8, 4, 2, 2, 2, 2]
    assert roomy.sizes == [8]


def test_one_sample_without_memory_may_be_tried_again() -> None:
    model, finished = Summing(room=0), Finished(3)
    with lane(finished) as running:
        running.add(items(model, [1, 2, 3]))
        model.go.set()
        found = finished.wait()
    assert {error.severity for error in found.values()} == {"transient"}
    assert all(isinstance(error, InternalError) for error in found.values())


def test_memory_and_bad_samples_at_once_are_told_apart() -> None:
    model, finished = Summing(room=4), Finished(17)
    values = [100, 101, 13, *range(103, 112), 14, *range(113, 116)]
    with lane(finished, 16) as running:
        held_back(model, running, lambda: running.add(items(model, values)))
        found = finished.wait()
    failed = {uri: error.severity for uri, error in found.items() if isinstance(error, DDError)}
    assert failed == {"13": "permanent", "14": "permanent"}


def test_a_limit_is_doubled_after_a_while_and_never_beyond_the_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned = BatchLimits(Meters("lane"), 16)
    learned.lower("g", 16)
    learned.lower("g", 8)
    assert (learned.of("g"), learned.of("other")) == (4, 16)
    monkeypatch.setattr(limits, "RELIEF_SECONDS", -1.0)
    assert [learned.of("g") for _ in range(4)] == [8, 16, 16, 16]


def test_limits_of_more_groups_than_are_kept_stay_bounded() -> None:
    learned = BatchLimits(Meters("lane"), 16)
    for group in range(3 * limits.GROUPS):
        learned.lower(group, 16)
    assert sum(learned.of(group) == 8 for group in range(3 * limits.GROUPS)) == limits.GROUPS


def test_a_pass_that_takes_too_long_loses_the_lane_and_its_result() -> None:
    model, finished = Summing(), Finished(8)
    with lane(finished, 4, seconds=0.05) as running:
        running.add(items(model, [1]))
        assert model.begun.wait(30)
        running.add(items(model, range(2, 8)))
        until_lost(running)
        running.add(items(model, [8]))
        found = finished.wait()
        running.close()  # while the pass hangs
        running.release(cast(Any, model))
        model.go.set()
        running._thread.join(30)
    assert running.lost == (
        "service lane: a forward pass took longer than forward_timeout (0.05 s)"
    )
    assert all(isinstance(error, InternalError) for error in found.values())
    assert {error.severity for error in found.values()} == {"fatal"}
    assert {error.detail for error in found.values()} == {running.lost}
    assert model.sizes == [1]
    assert not model.closed


def test_a_pass_in_time_and_an_idle_lane_are_never_lost() -> None:
    model, finished = Summing(), Finished(200)
    model.go.set()
    with lane(finished, 1, seconds=5) as running:
        checking = threading.Event()
        watching = threading.Thread(target=lambda: checks(running, checking))
        watching.start()
        running.add(items(model, range(100, 300)))
        assert finished.wait() == {str(n): n for n in range(100, 300)}
        checking.set()
        watching.join(30)
        assert running.lost == ""


def until_lost(running: Lane) -> None:
    pause = threading.Event()
    while not running.lost:
        pause.wait(0.01)
        running.check()


def checks(running: Lane, enough: threading.Event) -> None:
    while not enough.wait(0.001):
        running.check()


def test_a_device_that_is_lost_fails_all_that_waits_and_tries_nothing_more() -> None:
    model, finished = Summing(), Finished(14)
    with lane(finished, 4) as running:
        held_back(model, running, lambda: running.add(items(model, [15, *range(100, 111)])))
        until_lost(running)
        running.add(items(model, [200]))
        found = finished.wait()
    assert model.sizes == [1, 4]
    assert found.pop("1000") == 1000
    assert {error.severity for error in found.values()} == {"fatal"}
    assert running.lost == (
        "service lane: a forward pass left its device unusable: "
        "CUDA error: an illegal memory access"
    )


def test_a_lane_whose_model_cannot_tell_what_failed_is_lost_and_not_silent() -> None:
    class Speechless(Summing):
        def failure(self, error: Exception) -> None:  # type: ignore[override]
            raise ValueError("no idea")

    model, finished = Speechless(), Finished(2)
    model.go.set()
    with lane(finished) as running:
        running.add(items(model, [13]))
        running.add(items(model, [1]))
        found = finished.wait()
    assert found["13"].severity == "fatal"
    assert "no idea" in running.lost
