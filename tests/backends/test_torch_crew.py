"""Several devices: processes that train one model together, here on the CPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch

from ddstream.api.image import ImageInput
from ddstream.api.parameters import merged
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.data import Progress
from ddstream.errors import InternalError
from ddstream.repository import Repository
from tests.backends.test_torch_training import in_order
from tests.backends.trainings import RAW, trained, weights

pytestmark = pytest.mark.usefixtures("traced")

TWO = [torch.device("cpu")] * 2


def together(repository: Repository, over: Mapping[str, Any]) -> Any:
    """A training on two devices, in the order of the digits."""
    raw = merged(RAW, over)
    trainer = TorchTrainer(Setup(raw, ImageInput(), repository), TWO)
    return trainer.fit(in_order(), raw, ("acc",))


def solver(iterations: int, **options: Any) -> dict[str, Any]:
    given = {"iterations": iterations, "solver_type": "ADAM", "base_lr": 0.01, "iter_size": 2}
    return {"solver": {**given, "lookahead": True, "swa": True, "swa_start": 2, **options}}


def test_two_devices_train_as_one_with_batches_of_both(
    repository: Repository, traced: Path, tmp_path: Path
) -> None:
    alone = Repository.open(tmp_path / "alone", create=True)
    alone.write("tiny.pt", traced.read_bytes())
    one = trained(
        alone, {**solver(6), "net": {"batch_size": 4, "test_batch_size": 8}}, in_order(), ("acc",)
    )
    half = {"net": {"batch_size": 2, "test_batch_size": 8}}
    with closing(together(repository, {**solver(6), **half})) as told:
        first = _some(told, 3)
    # Who is stopped keeps the iteration that was reached, and goes on with all devices.
    assert repository.checkpoints()[-1].iteration == 3
    rest = _some(together(repository, {**solver(6), **half, "resume": True}), 3)
    for ours, theirs in zip([*first, *rest], one, strict=True):
        assert ours.points["train_loss"] == pytest.approx(theirs.points["train_loss"], rel=1e-5)
    assert rest[-1].measures == [
        {**each, "train_loss": pytest.approx(each["train_loss"])} for each in one[-1].measures or ()
    ]
    expected = weights(alone.path / "checkpoint-6.pt")
    for name, value in weights(repository.path / "checkpoint-6.pt").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    assert not active_children()


def _some(told: Any, count: int) -> list[Progress]:
    found: list[Progress] = []
    for each in told:
        found += [each] if each.points else []
        if len(found) == count:
            break
    return found


def test_a_rank_that_dies_ends_the_training_with_its_last_checkpoint(
    repository: Repository,
) -> None:
    told = together(repository, solver(10**6, iter_size=1, snapshot=2))
    assert _some(told, 3)[-1].iteration == 3
    (rank,) = active_children()
    assert rank.pid is not None
    os.kill(rank.pid, signal.SIGKILL)
    with pytest.raises(InternalError, match="rank 1 of the training died: exit status -9"):
        _some(told, 10**6)
    assert [point.iteration for point in repository.checkpoints()] == [2]
    assert not active_children()
