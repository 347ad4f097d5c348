"""The loader: the same batches whatever the threads do."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.scores import Scores
from ddstream.backends.torch.training.loader import Loaded, Loader, Reading
from ddstream.data import Sample
from ddstream.errors import InputError
from tests.backends.digit_sets import DigitSet, digit_set

SCORES = Scores(TorchParameters())


def taken(loader: Loader, first: int, last: int) -> list[Loaded]:
    return list(loader.batches(first, last))


@pytest.mark.promise("train.torch.dataloader_threads")
def test_batches_do_not_depend_on_the_number_of_threads() -> None:
    reading = Reading(size=4, shuffle=True, seed=3, training=True)
    one = taken(Loader(digit_set("train", 0, 18), reading, SCORES), 0, 12)
    four = taken(Loader(digit_set("train", 0, 18), replace(reading, threads=4), SCORES), 0, 12)
    assert [batch.number for batch in four] == list(range(12))
    for a, b in zip(one, four, strict=True):
        assert torch.equal(a.inputs["image"], b.inputs["image"])
        assert torch.equal(a.targets["scores"], b.targets["scores"])


@pytest.mark.promise("train.torch.dataloader_threads")
def test_as_many_threads_read_as_are_asked_for() -> None:
    meeting = threading.Barrier(3, timeout=20)

    class Meeting(DigitSet):
        def read(self, index: int, rng: np.random.Generator | None) -> Sample:
            # Passes only when three threads are here at once.
            meeting.wait()
            return super().read(index, rng)

    plain = digit_set("train", 0, 3)
    data = Meeting("train", plain.images, plain.targets)
    assert len(taken(Loader(data, Reading(size=1, threads=3), SCORES), 0, 3)) == 3


def test_an_epoch_has_every_sample_once_in_a_new_order() -> None:
    data = digit_set("train", 0, 10)
    loader = Loader(data, Reading(size=4, shuffle=True, seed=3), SCORES)
    assert loader.per_epoch == 3
    assert [len(batch) for batch in taken(loader, 0, 6)] == [4, 4, 2, 4, 4, 2]
    first, second = data.reads[:10], data.reads[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_without_shuffle_the_order_is_the_data_sets() -> None:
    data = digit_set("train", 0, 5)
    taken(Loader(data, Reading(size=2), SCORES), 0, 6)
    assert data.reads == [0, 1, 2, 3, 4] * 2


def test_a_loader_can_start_in_the_middle() -> None:
    reading = Reading(size=4, shuffle=True, seed=3, training=True)
    whole = taken(Loader(digit_set("train", 0, 18), reading, SCORES), 0, 9)
    (batch,) = taken(Loader(digit_set("train", 0, 18), reading, SCORES), 7, 8)
    assert torch.equal(batch.inputs["image"], whole[7].inputs["image"])


def test_a_lone_last_sample_joins_the_batch_before_it_in_training() -> None:
    data = digit_set("train", 0, 9)
    training = Loader(data, Reading(size=4, training=True), SCORES)
    assert [len(batch) for batch in taken(training, 0, 2)] == [4, 5]
    assert [len(batch) for batch in taken(Loader(data, Reading(size=4), SCORES), 0, 3)] == [4, 4, 1]


def test_samples_that_cannot_be_read_are_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = replace(digit_set("train", 0, 6), broken=frozenset({1, 4, 5}))
    found = taken(Loader(data, Reading(size=2), SCORES), 0, 3)
    assert [(batch.number, len(batch)) for batch in found] == [(0, 1), (1, 2)]
    assert "train: a sample was left out: 1: not an image" in caplog.text


def test_a_sample_that_was_left_out_is_told_once_and_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = replace(digit_set("train", 0, 6), broken=frozenset({1, 4}))
    reading = Reading(size=2)
    for _ in range(2):
        taken(Loader(data, reading, SCORES), 0, 6)
    assert caplog.text.count("left out: 1: not an image") == 1
    assert reading.left_out.warnings() == [
        "train: 2 samples were left out, the first: 1: not an image"
    ]


def test_what_is_left_of_a_training_batch_is_never_alone() -> None:
    data = replace(digit_set("train", 0, 6), broken=frozenset({1, 4, 5}))
    for training, sizes in ((True, [2, 2]), (False, [1, 2])):
        loader = Loader(data, Reading(size=2, training=training), SCORES)
        assert [len(batch) for batch in taken(loader, 0, 3)] == sizes
    alone = Loader(data, Reading(size=1, training=True), SCORES)
    assert [len(batch) for batch in taken(alone, 0, 3)] == [1, 1]


def test_data_of_which_nothing_can_be_read_are_an_error() -> None:
    data = replace(digit_set("train", 0, 4), broken=frozenset(range(4)))
    with pytest.raises(InputError, match=r"no sample of train can be read: \d: not an"):
        taken(Loader(data, Reading(size=2), SCORES), 0, 4)


def test_images_of_several_sizes_cannot_be_one_batch() -> None:
    class Growing(DigitSet):
        def read(self, index: int, rng: np.random.Generator | None) -> Sample:
            sample = super().read(index, rng)
            return replace(sample, inputs={"image": np.zeros((8 + index, 8, 1), np.uint8)})

    plain = digit_set("train", 0, 4)
    data = Growing("train", plain.images, plain.targets)
    with pytest.raises(
        InputError, match=r"set width and height: images of one batch differ in size"
    ):
        taken(Loader(data, Reading(size=2), SCORES), 0, 1)


def test_closing_a_loader_ends_its_threads() -> None:
    before = threading.active_count()
    batches = Loader(digit_set("train", 0, 18), Reading(size=1, threads=4), SCORES).batches()
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
