"""The CTC task: texts from scores of letters, greedily and by search, and their measures."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.tasks import TASKS, Traits
from ddstream.tasks.ctc import WIDEST, Ctc, greedy, searched
from tests.tasks.tallies import tallied

ALPHABET = ["0", *(str(ord(letter)) for letter in "aé猫🙂")]


def steps(*best: int, size: int = 5, share: float = 0.8) -> Array:
    """Logits T x A in which each step has one most probable letter."""
    rest = (1 - share) / (size - 1)
    return np.log(np.where(np.eye(size)[list(best)] == 1, share, rest)).astype(np.float32)


def decoded(logits: Array, classes: list[str] = ALPHABET, **output: object) -> Json:
    task = Ctc(Traits(classes))
    (row,) = task.activate({OUTPUT: logits[None]})
    return task.decode(row, Sample("a.png", {}), OutputParameters(**output))  # type: ignore[arg-type]


def random_shares(seed: int, count: int, size: int) -> Array:
    raw = np.random.default_rng(seed).random((count, size)) ** 3
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def all_texts(shares: Array, blank: int) -> dict[tuple[int, ...], float]:
    """The probability of each text: the sum over all paths that read it."""
    found: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(shares.shape[1]), repeat=len(shares)):
        text = tuple(letter for letter, _ in groupby(path) if letter != blank)
        found[text] += float(np.prod([shares[i, letter] for i, letter in enumerate(path)]))
    return found


@pytest.mark.promise("predict.output.ctc")
def test_repeated_letters_are_one_and_blanks_part_them() -> None:
    found = decoded(steps(0, 1, 1, 0, 1, 2, 3, 0, 4, 4), ctc=True)
    assert found["uri"] == "a.png"
    (text,) = found["classes"]
    assert text["cat"] == "aaé猫🙂"
    assert text["last"] is True
    assert text["prob"] == pytest.approx(0.8**10)


def test_a_text_of_blanks_is_empty() -> None:
    assert decoded(steps(0, 0, 0))["classes"][0]["cat"] == ""


def test_the_blank_may_be_another_letter_or_none() -> None:
    logits = steps(1, 4, 1, 0)
    assert decoded(logits, blank_label=4)["classes"][0]["cat"] == "aa\0"
    assert decoded(logits, blank_label=-1)["classes"][0]["cat"] == "a🙂a\0"
    with pytest.raises(ParameterError, match="blank_label 5 is not among the model's 5 letters"):
        decoded(logits, blank_label=5)


def test_several_texts_are_the_most_probable_ones() -> None:
    shares = np.array([[0.6, 0.4], [0.6, 0.4]])
    logits = np.log(shares).astype(np.float32)
    assert decoded(logits, ["0", "97"])["classes"][0] == {
        "last": True,
        "prob": pytest.approx(0.36),
        "cat": "",
    }
    best, second = decoded(logits, ["0", "97"], best=2)["classes"]
    assert (best["cat"], second["cat"]) == ("a", "")
    assert (best["prob"], second["prob"]) == pytest.approx((0.64, 0.36))
    assert len(decoded(logits, ["0", "97"], best=-1)["classes"]) == 2
    assert decoded(logits, best=0)["classes"] == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 3), st.integers(-1, 1))
def test_a_search_finds_the_probabilities_of_all_paths(
    seed: int, count: int, size: int, blank: int
) -> None:
    shares = random_shares(seed, count, size)
    expected = all_texts(shares, blank)
    found = searched(shares, blank, best=400)
    assert {text.letters: text.probability for text in found} == pytest.approx(dict(expected))
    probabilities = [text.probability for text in found]
    assert probabilities == pytest.approx(sorted(expected.values(), reverse=True))


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 5), st.integers(-1, 1))
def test_the_greedy_text_is_that_of_the_best_path(
    seed: int, count: int, size: int, blank: int
) -> None:
    shares = random_shares(seed, count, size)
    path = shares.argmax(axis=1).tolist()
    text = greedy(shares, blank)
    assert text.letters == tuple(letter for letter, _ in groupby(path) if letter != blank)
    assert text.probability == pytest.approx(float(np.prod(shares.max(axis=1))))


def test_a_long_image_has_a_probability_that_steps_alone_could_not_hold() -> None:
    # Each beginning loses against the others; their common scale is kept apart.
    shares = np.tile([[1e-3, 0.998, 1e-3]], (300, 1)) * 1e-3
    shares[::2] *= 1e3
    (text,) = searched(shares, best=1)
    assert text.letters == (1,)
    assert text.probability < 1e-300


def test_scores_that_are_no_numbers_read_nothing() -> None:
    lost = np.full((2, 3), np.nan)
    assert searched(lost) == []
    assert np.isnan(greedy(lost).probability)


@pytest.mark.promise("predict.output.confidence_threshold")
def test_a_text_that_is_not_above_the_threshold_is_left_out() -> None:
    logits = steps(1, 0, share=0.5)
    assert decoded(logits, confidence_threshold=0.250001)["classes"] == []
    assert len(decoded(logits, confidence_threshold=0.24)["classes"]) == 1


def test_without_an_alphabet_letters_are_numbers() -> None:
    assert decoded(steps(3, 0, 4), [])["classes"][0]["cat"] == "3 4"


@pytest.mark.parametrize("name", ["cat", "99999999", "²"])
def test_a_file_of_classes_that_is_no_alphabet_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=r"corresp\.txt has no code point of letter 1"):
        decoded(steps(1), ["0", name])
    with pytest.raises(ParameterError, match="letter 4"):
        decoded(steps(4), ["0", "97"])


def test_a_test_set_is_scored_by_texts_that_are_right_as_a_whole() -> None:
    task = Ctc(Traits(ALPHABET))
    rows = task.activate({OUTPUT: np.stack([steps(1, 2, 0), steps(1, 0, 1), steps(2, 2, 2)])})
    targets = [np.array([1, 2]), np.array([1]), np.array([2])]
    found = tallied(task, rows, targets, ["acc", "cer", "raw"])
    assert found["acc"] == pytest.approx(2 / 3)
    assert found["cer"] == pytest.approx(1 / 4)
    assert found["raw"]["truths"] == ["aé", "a", "é"]
    assert found["raw"]["estimations"] == ["aé", "aa", "é"]
    assert found["raw"]["confidences"] == pytest.approx([0.8**3] * 3)
    # Id 0 is a letter that the training never saw: nothing reads it.
    assert tallied(task, rows[:1], [np.array([1, 0])], ["acc"]) == {"acc": 0.0}


def test_a_task_knows_its_measures_and_bears_its_name() -> None:
    task = TASKS.load("ctc")()
    assert task.name == "ctc"
    assert [task.knows(name) for name in ("acc", "accuracy", "cer", "f1")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("target", [None, 3, np.zeros((2, 2), np.uint8)])
def test_a_sample_without_a_text_is_refused(target: object) -> None:
    task = Ctc()
    with pytest.raises(InputError, match="0 has no text"):
        tallied(task, task.activate({OUTPUT: steps(1)[None]}), [target], ["acc"])  # type: ignore[list-item]


def test_a_search_stays_narrow_however_many_texts_are_asked_for() -> None:
    row = np.full((12, 20), 1 / 20)
    assert len(searched(row, best=10**6)) == WIDEST
    assert len(searched(row, best=3)) == 3
