"""The lane of a model: batches by pile-up, groups apart, deadlines, its end."""

from __future__ import annotations

import threading

import pytest

from ddstream.errors import TimedOut
from tests.engine.lanes import Finished, Plan, Summing, item, items, lane


def test_what_piles_up_while_a_pass_runs_makes_the_next_batch() -> None:
    model, finished = Summing(), Finished(9)
    with lane(finished) as running:
        running.add(items(model, [0]))
        # The first pass holds the lane with one sample, or has not begun: 8 at most follow.
        running.add(items(model, range(1, 9)))
        model.go.set()
        assert finished.wait() == {str(n): n for n in range(9)}
    assert sum(model.sizes) == 9
    assert max(model.sizes) <= 8
    assert len(model.sizes) == 2


def test_samples_of_other_shapes_and_plans_never_share_a_pass() -> None:
    model, finished = Summing(), Finished(6)
    one, other = Plan(model, group="a"), Plan(model, group="b")
    with lane(finished) as running:
        running.add([item(one, "a", [1]), item(one, "b", [1, 1]), item(other, "c", [1])])
        running.add([item(one, "d", [2]), item(one, "e", [2, 2]), item(other, "f", [2])])
        model.go.set()
        assert finished.wait() == {"a": 1, "b": 2, "c": 1, "d": 2, "e": 4, "f": 2}
    assert max(model.sizes) <= 2


def test_a_sample_whose_deadline_passed_costs_no_forward() -> None:
    model, finished = Summing(), Finished(2)
    model.go.set()
    with lane(finished) as running:
        running.add([item(Plan(model), "late", [1], deadline=1.0), item(Plan(model), "good", [2])])
        found = finished.wait()
    assert isinstance(found["late"], TimedOut)
    assert found["good"] == 2
    assert model.sizes == [1]


def test_a_closed_lane_has_run_what_was_queued() -> None:
    model, finished = Summing(), Finished(50)
    model.go.set()
    with lane(finished, most=4) as running:
        running.add(items(model, range(100, 150)))
    assert len(finished.wait()) == 50


def test_a_model_is_freed_between_two_passes_only() -> None:
    model, finished = Summing(), Finished(1)
    with lane(finished) as running:
        running.add(items(model, [1]))
        assert model.begun.wait(30)
        freeing = threading.Thread(target=running.release, args=(model,))
        freeing.start()
        freeing.join(0.2)
        assert freeing.is_alive()
        assert not model.closed
        model.go.set()
        freeing.join(30)
        assert model.closed
    assert finished.wait() == {"1": 1}


@pytest.mark.parametrize("most", [1, 2, 3, 7, 16])
def test_no_batch_is_larger_than_asked_for(most: int) -> None:
    model, finished = Summing(), Finished(33)
    with lane(finished, most) as running:
        running.add(items(model, range(100, 133)))
        model.go.set()
        assert finished.wait() == {str(n): n for n in range(100, 133)}
    assert max(model.sizes) == most
