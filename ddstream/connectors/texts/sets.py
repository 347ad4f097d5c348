"""Text data sets: corpora become samples, with what is learned from those of the training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.txt import TextInput
from ddstream.connectors.protocol import NO_TESTS
from ddstream.connectors.storage.store import Wish, stored
from ddstream.connectors.storage.streams import Stream, Streams, Vary, varied
from ddstream.connectors.texts.corpus import Corpus, Found, Search
from ddstream.connectors.texts.language import Goal, Language, goal_of
from ddstream.connectors.texts.lexicon import SHAPING, Files, TextEncoder, encoder, kind_for, learn
from ddstream.connectors.texts.tokens import Tokens
from ddstream.connectors.texts.vocabulary import VOCABULARY
from ddstream.data import Datasets, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.roots import Roots


@dataclass(frozen=True, slots=True)
class Order:
    """What text data sets are made by: parameters, the raw `parameters.mllib`, and `found`, the
    files of the repository: all of them where a training goes on, else the vocabulary alone."""

    wanted: TextInput
    mllib: Mapping[str, Any]
    repository: Repository
    roots: Roots
    found: Files
    resumed: bool = False

    @property
    def labelled(self) -> bool:
        """Texts have classes; a model of language learns from the texts alone."""
        return self.mllib.get("template") != "gpt2" and not self.mllib.get("self_supervised")

    @property
    def nclasses(self) -> int:
        """How many classes the model has; 0 if nothing is said."""
        number = self.mllib.get("nclasses") or 0
        if not isinstance(number, int) or number < 0:
            raise ParameterError("parameters.mllib.nclasses must be a number of 0 or more")
        return number


def text_datasets(order: Order, data: Sequence[Path]) -> Datasets:
    """The training set `data[0]` and the test sets: the others, or a part of the first.

    Training sets of texts are always shuffled. Raises InputError for data or a vocabulary that
    cannot be used, ParameterError without any training or test text.
    """
    wanted, template = order.wanted, order.mllib.get("template")
    if template in ("bert", "gpt2") and not wanted.ordered_words:
        raise InputError(f"Need ordered_words = true with backend torch and template {template}")
    if order.mllib.get("ntargets") and not order.nclasses:
        raise ParameterError("parameters.mllib.ntargets: texts have classes, no numbers to learn")
    if not data:
        raise InputError("missing data")
    wish = Wish(
        repository=order.repository,
        data=data,
        roots=order.roots,
        made_by=_made_by(order),
        test_split=wanted.test_split,
        seed=wanted.seed,
    )
    on_disk = wanted.db or wish.named
    dense = wanted.mode == "bag" and not wanted.sparse and not on_disk
    if on_disk:
        kept = stored(wish, lambda: _gathered(order, data, dense=dense))
        _same_vocabulary(order, kept.files)
    else:
        kept = _gathered(order, data, dense=dense).in_memory()
    made = encoder(wanted, kept.files)
    goal = goal_of(order.mllib, made if isinstance(made, Tokens) else None)
    whole = varied(kept, _finishing(made, goal, dense=dense))
    return replace(whole, shuffle=True, seed=wanted.seed)


def _made_by(order: Order) -> dict[str, Any]:
    """All that kept samples depend on."""
    wanted = order.wanted
    shaped = {name: getattr(wanted, name) for name in SHAPING}
    if wanted.mode == "tokens":
        shaped["kind"] = kind_for(order.mllib.get("template"))
    said = {"connector": "txt", "sentences": wanted.sentences, "labelled": order.labelled}
    return {**said, **shaped}


def _same_vocabulary(order: Order, files: Files) -> None:
    """Raises InputError where the repository's tokens are not those that were kept."""
    given = order.found.get(VOCABULARY)
    if order.wanted.mode == "tokens" and given is not None and given != files.get(VOCABULARY):
        raise InputError(
            f"the kept samples were made with another {VOCABULARY} than the repository's: "
            "remove one of them"
        )


def _gathered(order: Order, data: Sequence[Path], *, dense: bool) -> Streams:
    """What is to be kept of the data, and what was learned from the training texts."""
    found, rest = _found(order, data)
    train, held_out = found.corpus.split(order.wanted)
    tests = [each.corpus for each in rest]
    if held_out is not None:
        if any(each.count() for each in tests):
            split = f"{order.wanted.test_split:g}"
            raise InputError(f"User specified both a test split {split} and a test set")
        tests = [held_out]
    if not train.count():
        raise ParameterError("No data found in training dataset")
    if not tests or not all(each.count() for each in tests):
        raise ParameterError(NO_TESTS)
    files, said = _learned(order, train)
    made = encoder(order.wanted, files)
    return Streams(
        train=Stream(train.name, _samples(train, made, dense=dense)),
        tests=[Stream(each.name, _samples(each, made, dense=dense)) for each in tests],
        classes=_classes(order, found, made),
        warnings=[*(text for each in (found, *rest) for text in each.warnings), *said],
        dimensions=made.dimensions,
        files=files,
    )


def _found(order: Order, data: Sequence[Path]) -> tuple[Found, list[Found]]:
    known = (order.repository.classes() or None) if order.resumed else None
    search = Search(
        order.roots, order.wanted.sentences, order.nclasses, order.labelled, classes=known
    )
    found = search.below(data[0])
    again = replace(search, classes=found.classes)
    return found, [again.below(path) for path in data[1:]]


def _learned(order: Order, train: Corpus) -> tuple[dict[str, bytes], list[str]]:
    """The files for the repository, and what is to be said of them."""
    wanted, found = order.wanted, order.found
    if order.resumed and (VOCABULARY in found or wanted.characters):
        return dict(found), []
    if order.resumed:
        raise InputError(f"the repository has no {VOCABULARY}: the training that goes on needs it")
    kind = kind_for(order.mllib.get("template"))
    files = learn(lambda: (each.content for each in train), wanted, kind, found.get(VOCABULARY))
    if wanted.mode != "tokens" or VOCABULARY in found:
        return files, []
    said = f"the repository has no {VOCABULARY}: it was learned from the training texts"
    return files, [said]


def _classes(order: Order, found: Found, made: TextEncoder) -> Sequence[str]:
    if isinstance(made, Tokens) and not order.labelled:
        return made.vocabulary.names()
    return found.classes


def _samples(texts: Corpus, made: TextEncoder, *, dense: bool) -> Iterator[Sample]:
    for text in texts:
        kept = made.keep(text.content)
        yield Sample(text.uri, made.inputs(kept) if dense else kept, text.target)


def _finishing(made: TextEncoder, goal: Goal, *, dense: bool) -> Vary:
    """What is made of a kept sample."""
    if isinstance(made, Tokens) and goal != "class":
        return Language(made, goal).sample
    return _as_it_is if dense else _filled(made)


def _as_it_is(sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
    return sample


def _filled(made: TextEncoder) -> Vary:
    def fill(sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
        return replace(sample, inputs=made.inputs(sample.inputs))

    return fill
