"""The text connector: files, folders and strings become bags, characters or tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.parameters import present
from ddstream.api.txt import TextInput, TextMode
from ddstream.connectors.locate import files_below
from ddstream.connectors.protocol import Limits
from ddstream.connectors.texts import corpus
from ddstream.connectors.texts.corpus import Search, Text
from ddstream.connectors.texts.language import Language, goal_of, prompt
from ddstream.connectors.texts.lexicon import (
    COUNTS,
    TEXT,
    TextEncoder,
    encoder,
    kept_parameters,
)
from ddstream.connectors.texts.sets import Order, text_datasets
from ddstream.connectors.texts.tokens import IDS, Tokens
from ddstream.connectors.texts.vocabulary import VOCABULARY
from ddstream.data import UNSIZED, Datasets, Datum, Dimensions, Sample
from ddstream.errors import InputError
from ddstream.repository import Repository

_UNLIMITED = Limits()


class TextConnector:
    """Reads texts with fixed parameters, and with what a training has left in the repository.

    Parameters that samples depend on are, where the request does not name them, those of that
    training.
    """

    def __init__(
        self, raw: Mapping[str, Any], repository: Repository, limits: Limits = _UNLIMITED
    ) -> None:
        self._asked = TextInput.parse(raw, "parameters.input", InputError)
        self._repository = repository
        self._limits = limits
        self._trained: TextMode | None = None
        self._parameters = self._with_kept(present(raw))

    @property
    def parameters(self) -> TextInput:
        """The typed `parameters.input`, those of the last training included."""
        return self._parameters

    def describe(self) -> Mapping[str, Any]:
        """The numbers of a sample as its width, once they are known."""
        found = self.dimensions()
        width = found.columns or found.steps
        return {"width": width, "height": 1} if width else {}

    def dimensions(self) -> Dimensions:
        """Columns of a bag or of one-hot characters, steps and vocabulary of ids."""
        try:
            return self._encoder.dimensions
        except InputError:
            # Its first training knows more.
            return UNSIZED

    def read(self, datum: Datum) -> Iterable[Sample]:
        """The sample of a text, of each text of a folder, or with `sentences` of each line.

        `meta` has, for gpt2, `last`, the place of the last token of the text, and for bert
        `masked`, the places of `[MASK]`. Raises InputError with the uri.
        """
        return (self._sample(text) for text in self._texts(datum))

    def labelled(self, datum: Datum, mllib: Mapping[str, Any]) -> Iterable[Sample]:
        """The samples of a folder with a folder a class; a model of language needs no labels.

        Raises InputError for texts without labels.
        """
        made = self._reader
        goal = goal_of(mllib, made if isinstance(made, Tokens) else None)
        if goal != "class" and isinstance(made, Tokens):
            language = Language(made, goal)
            for index, text in enumerate(self._texts(datum)):
                yield language.sample(Sample(text.uri, made.keep(text.content)), index, None)
            return
        if not isinstance(datum.content, Path) or not datum.content.is_dir():
            raise InputError(f"{datum.uri[:200]} has no labels: a folder of classes is expected")
        search = Search(
            self._limits.roots,
            self._parameters.sentences,
            classes=self._repository.classes() or None,
        )
        for text in search.below(datum.content).corpus:
            yield replace(self._sample(text), target=text.target)

    def datasets(self, data: Sequence[Path], augment: Mapping[str, Any]) -> Datasets:
        """Training and test sets, as `ddstream.connectors.texts.sets` says."""
        resumed = augment.get("resume") is True
        order = Order(
            wanted=self._parameters if resumed else self._asked,
            mllib=augment,
            repository=self._repository,
            roots=self._limits.roots,
            found=self._files() if resumed else self._files(VOCABULARY),
            resumed=resumed,
        )
        return text_datasets(order, data)

    @property
    def _reader(self) -> TextEncoder:
        """The encoder of predictions. Raises InputError where the model reads other samples."""
        if self._trained not in (None, self._parameters.mode):
            ways = f"{self._trained}, not {self._parameters.mode}"
            raise InputError(f"parameters.input: the model was trained with samples of {ways}")
        return self._encoder

    @cached_property
    def _encoder(self) -> TextEncoder:
        # When it is first needed: there are connectors that never read.
        return encoder(self._parameters, self._files())

    def _with_kept(self, raw: Mapping[str, Any]) -> TextInput:
        kept = kept_parameters(self._files(TEXT))
        if not kept:
            return self._asked
        made = TextInput.parse(kept, f"{TEXT} of the repository", InputError)
        self._trained = made.mode
        says = {"characters", "ordered_words"} & self._asked.model_fields_set
        if says and made.mode != self._asked.mode:
            # Another way than the last training's: its parameters mean nothing here.
            return self._asked
        return TextInput.parse({**kept, **raw}, "parameters.input", InputError)

    def _files(self, *names: str) -> dict[str, bytes]:
        """What the repository keeps of the last training."""
        found = {}
        for name in names or (VOCABULARY, TEXT, COUNTS):
            with suppress(OSError):
                found[name] = (self._repository.path / name).read_bytes()
        return found

    def _texts(self, datum: Datum) -> Iterator[Text]:
        content = datum.content
        if isinstance(content, np.ndarray):
            raise InputError(f"{datum.uri[:200]} is an array, not a text")
        if isinstance(content, Path) and content.is_dir():
            yield from self._folder(content, datum.uri)
            return
        if isinstance(content, Path):
            content = corpus.read(content, datum.uri, self._limits.roots)
        elif isinstance(content, bytes):
            content = corpus.decoded(content, datum.uri)
        yield from self._of_content(content, datum.uri)

    def _folder(self, folder: Path, uri: str) -> Iterator[Text]:
        name = str(folder) if uri.startswith("file:") else uri
        empty = True
        for path in files_below(folder):
            empty = False
            named = str(Path(name) / path.relative_to(folder))
            yield from self._of_content(corpus.read(path, named, self._limits.roots), named)
        if empty:
            raise InputError(f"no text could be found: {uri[:200]}")

    def _of_content(self, content: str, uri: str) -> Iterator[Text]:
        if self._parameters.sentences:
            return corpus.lines(content, uri)
        return iter((Text(uri, content),))

    def _sample(self, text: Text) -> Sample:
        made = self._reader
        kept = made.keep(text.content)
        meta = prompt(made, kept[IDS]) if isinstance(made, Tokens) else {}
        return Sample(text.uri, made.inputs(kept), meta=meta)
