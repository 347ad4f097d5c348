"""Printed words: which letters an image reads, of words that no training image had."""

from __future__ import annotations

import pytest

from tests.learning.learner import Lesson, School
from tests.words import FONTS, Words, write_words

FULL = 0.90
"""What share of the words must be read without any error."""
SMALL = 0.60
"""What `cer`, errors a letter, must not exceed in the quick form; who reads nothing has 1."""
QUICK = Words(train=28, test=10, copies=10, letters="aim", length=(1, 3), width=40, fonts=FONTS[:1])
LONG = Words(train=6000, test=200, letters="acdeghilmnoprstu", inverted=0)


@pytest.mark.timeout(3600)
@pytest.mark.promise("services.torch.ctc", "services.input.image.ctc", "templates.crnn")
def test_a_crnn_reads_words(school: School) -> None:
    words = LONG if school.full else QUICK
    train, test = write_words(school.folder / "words", words)
    learnt = school.teach(
        Lesson(
            name="words",
            connector={
                "connector": "image",
                "width": words.width,
                "height": words.height,
                "bw": True,
                "scale": 0.0039,
                "mean": 0.5,
                "std": 0.25,
                "ctc": True,
            },
            mllib={
                "template": "crnn",
                "template_params": {
                    "channels": 64 if school.full else 32,
                    "hidden_size": 64 if school.full else 32,
                    "num_layers": 1,
                    "bidirectional": True,
                },
            },
            training={
                "solver": {
                    "iterations": 5000,
                    "test_interval": 500,
                    "base_lr": 2e-3,
                    "lr_policy": "cosine",
                    "clip_norm": 5.0,
                    "solver_type": "ADAM",
                },
                "net": {"batch_size": 16},
            },
            small={
                "solver": {
                    "iterations": 800,
                    "test_interval": 800,
                    "base_lr": 3e-3,
                    "lr_policy": "fixed",
                },
                "net": {"batch_size": 8},
            },
            train_input={"shuffle": True, "seed": 1},
            output={"ctc": True},
            data=[train, test],
            measures=["acc", "cer"],
        )
    )
    if school.full:
        assert learnt.measure["acc"] >= FULL
    else:
        assert learnt.measure["cer"] <= SMALL
    assert learnt.measure["acc"] == pytest.approx(learnt.report["measure"]["acc"], abs=0.02)
    image, _ = test.read_text(encoding="utf-8").splitlines()[0].split()
    texts = learnt.service.predict([image], output_parameters={"ctc": True, "best": 3})
    assert len({each["cat"] for each in texts["predictions"][0]["classes"]}) == 3
