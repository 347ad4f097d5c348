"""Who may write to a repository, and what a repository with a fence refuses."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ddstream import fence
from ddstream.fence import FENCE, Fence, Fenced, reached_by
from ddstream.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.open(tmp_path / "model", create=True)


def test_a_later_attempt_takes_over_and_goes_on_where_the_last_one_was(
    repository: Repository,
) -> None:
    first = repository.claimed("x/1", 0)
    assert first.reached is None
    first.reach(0)
    first.write("solver-4.pt", b"4")
    first.reach(4)
    second = repository.claimed("x/1", 1)
    assert second.reached == 4
    for late in (
        lambda: first.write("solver-4.pt", b"old"),
        lambda: first.remove(["solver-4.pt"]),
        lambda: first.reach(5),
    ):
        with pytest.raises(Fenced, match="x/1, attempt 1, has taken the repository over"):
            late()
    assert (repository.path / "solver-4.pt").read_bytes() == b"4"
    assert {file.name for file in repository.path.iterdir()} == {"solver-4.pt", FENCE}
    with pytest.raises(Fenced, match="attempt 1 has begun"):
        repository.claimed("x/1", 0)
    # The same attempt again: its trainer was started once more.
    assert repository.claimed("x/1", 1).reached == 4


def test_another_training_begins_with_nothing_and_keeps_the_last_one_out(
    repository: Repository,
) -> None:
    first = repository.claimed("x/1", 3)
    first.reach(120)
    second = repository.claimed("x/2", 0)
    assert second.reached is None
    second.reach(7)
    assert (repository.path / FENCE).read_bytes().rstrip() == (
        b'{"run":"x/2","epoch":0,"reached":7}'
    )
    with pytest.raises(Fenced):
        first.write("a", b"")
    assert (reached_by("x/2", repository.path), reached_by("x/1", repository.path)) == (7, 0)


def test_without_a_claim_a_repository_is_free(repository: Repository) -> None:
    repository.write("a", b"a")
    repository.reach(1)
    assert (repository.reached, repository.run) == (None, "")
    assert reached_by("x/1", repository.path) == 0
    assert not (repository.path / FENCE).exists()


def test_a_cleared_repository_is_written_to_by_nobody_who_had_claimed_it(
    repository: Repository,
) -> None:
    claimed = repository.claimed("x/1", 0)
    repository.clear("lib")
    with pytest.raises(Fenced, match="cleared"):
        claimed.write("checkpoint-1.npt", b"")


def test_what_a_killed_trainer_left_half_written_is_removed(repository: Repository) -> None:
    for name in (".checkpoint-12.npt.abcd1234", ".solver-12.pt.x_y12345", ".metrics.json.abcd1234"):
        (repository.path / name).write_bytes(b"half")
    repository.claimed("x/1", 1)
    left = {file.name for file in repository.path.iterdir()}
    assert left == {FENCE, ".metrics.json.abcd1234"}


def hold(folder: Path, held: Event) -> None:
    other = Fence(folder, "x/1", 1)
    other.claim()
    with other.held():
        held.set()
        multiprocessing.Event().wait(60)


def test_a_lock_that_is_never_given_back_is_an_error(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "LOCK_SECONDS", 0.1)
    spawning = multiprocessing.get_context("spawn")
    held = spawning.Event()
    other = spawning.Process(target=hold, args=(repository.path, held))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(Fenced, match="holds the repository's lock"):
            repository.claimed("x/1", 2)
    finally:
        other.kill()
        other.join()
    # A dead holder holds nothing.
    assert repository.claimed("x/1", 2).reached is None
