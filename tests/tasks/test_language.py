"""The language task: words for the places of a text, and measures that are counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ddstream.api.envelope import Json
from ddstream.api.predict import OutputParameters
from ddstream.data import OUTPUT, Array, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.measures import classification
from ddstream.tasks import TASKS, Traits
from ddstream.tasks.classification import softmax
from ddstream.tasks.language import Language
from tests.tasks.tallies import tallied

WORDS = ["[PAD]", "ant", "bee"]
LOGITS = np.log(np.array([[[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]]], np.float32))
COUNTED = ["acc", "acc-3", "f1", "mcll", "mcc"]


def decoded(meta: Json, **output: object) -> Json:
    task = Language(Traits(WORDS))
    (row,) = task.activate({OUTPUT: LOGITS})
    return task.decode(row, Sample("0", {}, meta=meta), OutputParameters(**output))  # type: ignore[arg-type]


@pytest.mark.promise("templates.gpt2")
def test_what_follows_is_told_after_the_last_token_of_a_prompt() -> None:
    found = decoded({"last": 1}, best=2)
    assert [each["cat"] for each in found["classes"]] == ["bee", "[PAD]"]
    assert found["classes"][0]["prob"] == pytest.approx(0.8)
    assert (found["uri"], found["loss"]) == ("0", 0.0)
    assert found["classes"][-1]["last"] is True


@pytest.mark.promise("templates.bert")
def test_the_words_of_one_masked_place_are_told() -> None:
    found = decoded({"masked": [0]}, best=-1, confidence_threshold=0.25)
    assert [each["cat"] for each in found["classes"]] == ["ant", "bee"]
    assert all("mask" not in each for each in found["classes"])


def test_the_words_of_several_masked_places_have_the_number_of_their_place() -> None:
    found = decoded({"masked": [1, 2]})
    assert [(each["cat"], each["mask"]) for each in found["classes"]] == [("bee", 0), ("[PAD]", 1)]
    assert [each.get("last") for each in found["classes"]] == [None, True]


def test_a_text_that_asks_for_no_word_is_refused() -> None:
    with pytest.raises(InputError, match=r"0 has no \[MASK\]"):
        decoded({"masked": []})


def scored(seed: int, samples: int, length: int, words: int) -> tuple[Array, list[Array]]:
    """Logits and targets of random texts, some places of which are asked for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (samples, length, words)).astype(np.float32)
    targets = rng.integers(0, words, (samples, length))
    # Half of the guesses are right, as those of a model that has learned something.
    right = rng.random((samples, length)) < 0.5
    logits[right, targets[right]] += 9
    targets[rng.random((samples, length)) < 0.6] = -1
    targets[0, 0] = 0
    return logits, list(targets.astype(np.int64))


def test_places_are_measured_as_samples_of_a_classifier() -> None:
    logits, targets = scored(3, 40, 12, 9)
    found = tallied(Language(), logits, targets, COUNTED)
    told = np.concatenate(targets) != -1
    scores, true = logits.reshape(-1, 9)[told], np.concatenate(targets)[told]
    guesses, ids = scores.argmax(1), np.arange(9)
    averaged = {"labels": ids, "average": "macro", "zero_division": 0}
    wanted = {
        "acc": metrics.accuracy_score(true, guesses),
        "acc-3": metrics.top_k_accuracy_score(true, scores, k=3, labels=ids),
        "f1": metrics.f1_score(true, guesses, **averaged),
        "recall": metrics.recall_score(true, guesses, **averaged),
        "precision": metrics.precision_score(true, guesses, **averaged),
        "accp": metrics.accuracy_score(true, guesses),
        "mcll": metrics.log_loss(true, softmax(scores.astype(np.float64)), labels=ids),
        "mcc": metrics.matthews_corrcoef(true, guesses),
    }
    assert dict(found) == pytest.approx(wanted, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(1, 9), st.integers(1, 20), st.integers(2, 70))
def test_counts_agree_with_the_measures_of_all_scores(
    seed: int, samples: int, length: int, words: int
) -> None:
    logits, targets = scored(seed, samples, length, words)
    told = np.concatenate(targets) != -1
    scores = softmax(logits.reshape(-1, words)[told].astype(np.float64))
    wanted = classification.compute(COUNTED, scores, np.concatenate(targets)[told])
    found = tallied(Language(), logits, targets, COUNTED)
    assert dict(found) == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def test_nothing_is_kept_of_the_batches() -> None:
    tally = Language().tally(COUNTED)
    for seed in range(3):
        logits, targets = scored(seed, 4, 5, 50)
        tally.add(logits, [Sample("0", {}, target) for target in targets])
    counts = vars(tally)["_counts"]
    assert {counts.right.size, counts.guessed.size, counts.true.size} == {50}
    assert counts.samples == sum((t != -1).sum() for s in range(3) for t in scored(s, 4, 5, 50)[1])


def test_measures_that_need_a_matrix_of_classes_are_none_of_language() -> None:
    assert [Language().knows(name) for name in ("acc-5", "mcll", "f1")] == [True] * 3
    assert not any(Language().knows(name) for name in ("cmdiag", "cmfull", "auc", "raw", "kl"))
    logits, targets = scored(0, 2, 3, 4)
    assert set(tallied(Language(), logits, targets, ["cmdiag", "cmfull", "acc"])) == {"acc"}


def test_texts_without_any_place_have_no_measures() -> None:
    found = tallied(Language(), np.zeros((1, 2, 3)), [np.array([-1, -1])], ["acc", "mcll", "f1"])
    assert np.isnan(list(found.values())).all()


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"acc-0\.5"):
        Language().tally(["acc-0.5"])
    with pytest.raises(InputError, match="0 has no target"):
        tallied(Language(), np.zeros((1, 2, 3)), [1], ["acc"])


def test_the_task_bears_the_name_of_its_table_line() -> None:
    assert TASKS.load("language")().name == "language"
