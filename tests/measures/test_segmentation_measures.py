"""Measures of segmentations, against scikit-learn image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score, recall_score

from ddstream.data import Array
from ddstream.errors import ParameterError
from ddstream.measures import averaged
from ddstream.measures.segmentation import Segmented, compute, keeps_regions, knows

Pairs = Sequence[tuple[Array, Array]]


def counted(pairs: Pairs, classes: int = 4, *, wanted: bool = False) -> Segmented:
    segmented = Segmented(classes, wanted=wanted)
    for estimates, truth in pairs:
        segmented.add(estimates, truth)
    return segmented


def random_pairs(seed: int, images: int, classes: int) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(images):
        shape = tuple(rng.integers(1, 9, 2))
        # Some images have few classes only.
        some = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
        truth = rng.choice(some, shape).astype(np.uint8)
        right = rng.random(shape) < 0.6
        found.append((np.where(right, truth, rng.integers(classes, size=shape)), truth))
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 5))
def test_they_are_the_means_over_images_of_those_of_scikit_learn(
    seed: int, images: int, classes: int
) -> None:
    pairs = random_pairs(seed, images, classes)
    found = compute(["acc"], counted(pairs, classes))
    flat = [(estimates.ravel(), truth.ravel()) for estimates, truth in pairs]
    accuracies = [accuracy_score(truth, estimates) for estimates, truth in flat]
    assert found["acc"] == pytest.approx(np.mean(accuracies))
    for c in range(classes):
        having = [(e == c, t == c) for e, t in flat if (t == c).any()]
        recalls = [recall_score(t, e) for e, t in having]
        shared = [jaccard_score(t, e) for e, t in having]
        assert found["clacc"][c] == pytest.approx(
            np.mean(recalls) if having else np.nan, nan_ok=True
        )
        assert found["cliou"][c] == pytest.approx(
            np.mean(shared) if having else np.nan, nan_ok=True
        )
    assert found["meanacc"] == pytest.approx(np.nanmean(found["clacc"]))
    assert found["meaniou"] == pytest.approx(np.nanmean(found["cliou"]))


def test_every_name_works_alone_and_acc_gives_all() -> None:
    segmented = counted(random_pairs(1, 3, 4), wanted=True)
    every = compute(["acc"], segmented)
    assert list(every) == ["acc", "meanacc", "meaniou", "clacc", "cliou", "labels"]
    for name in ("meanacc", "meaniou"):
        assert compute([name], segmented) == {name: every[name]}
    for name in ("clacc", "cliou"):
        alone = compute([name], segmented)
        assert alone[name] == pytest.approx(every[name], nan_ok=True)
        assert alone["labels"] == ["0", "1", "2", "3"]
    assert compute(["accuracy"], segmented)["acc"] == every["acc"]
    assert compute(["f1"], segmented) == {}
    assert not knows("f1")
    assert all(knows(name) for name in (*every, "raw") if name != "labels")


def test_raw_tells_what_each_class_of_each_image_was_taken_for() -> None:
    truth = np.array([[0, 0, 0, 2]], np.uint8)
    segmented = counted([(np.array([[1, 1, 0, 2]]), truth)], wanted=True)
    assert keeps_regions(["raw"])
    assert not keeps_regions(["acc"])
    found = compute(["raw"], segmented)["raw"]
    assert found["truths"] == ["0", "2"]
    assert found["estimations"] == ["1", "2"]
    assert found["confidences"] == pytest.approx([2 / 3, 1.0])


def test_a_class_that_no_image_has_counts_for_nothing() -> None:
    # It is guessed in one pixel, which makes that pixel wrong and no more.
    found = compute(["acc"], counted([(np.array([[0, 3]]), np.array([[0, 0]]))]))
    assert found["meanacc"] == found["meaniou"] == 0.5
    assert np.isnan(found["cliou"][3])
    assert np.isnan(compute(["meaniou"], Segmented(2))["meaniou"])


def test_the_number_of_classes_bounds_them_where_it_is_known() -> None:
    with pytest.raises(ParameterError, match="class has id 4 is higher than the number of"):
        counted([(np.array([[0]]), np.array([[4]]))])
    grown = counted([(np.array([[0]]), np.array([[0]])), (np.array([[5]]), np.array([[2]]))], 0)
    assert grown.classes == 6
    assert compute(["clacc"], grown)["clacc"][:3] == pytest.approx([1, np.nan, 0], nan_ok=True)


def test_its_memory_does_not_grow_with_the_test_set() -> None:
    segmented = counted(random_pairs(2, 50, 4))
    assert segmented.regions == []
    assert segmented.seen.shape == segmented.overlaps.shape == (4,)
    assert averaged([compute(["acc"], segmented)]).keys() == {"acc", "meanacc", "meaniou"}
