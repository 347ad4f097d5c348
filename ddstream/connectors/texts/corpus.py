"""Texts on disk: folders of classes, folders of files, files of sentences, read one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from ddstream.api.txt import TextInput
from ddstream.connectors.locate import files_below, locate, visible
from ddstream.connectors.storage.streams import staying
from ddstream.data import Array
from ddstream.errors import InputError, severity
from ddstream.roots import NotAFile, OutsideRoots, Roots, TooLong

LONGEST_TEXT: Final = 64 << 20
"""Bytes of one text; a longer one is a corpus in a file, and wants `sentences`."""
_SPLIT_SEED: Final = 0
"""What is held out where nothing is said of shuffling, so that a resumed training finds it so."""


class Text(NamedTuple):
    """A text, where it is from, and its class."""

    uri: str
    content: str
    target: int = 0


class Source(NamedTuple):
    """A file of texts by its path, and their class."""

    path: str
    target: int = 0


def decoded(content: bytes, uri: str) -> str:
    """A text of UTF-8, with or without its mark, else of ISO 8859-1 (old newsgroups and mails).

    Raises InputError for what is no text: bytes of zero.
    """
    if b"\0" in content:
        raise InputError(f"{uri[:200]} is no text: it has bytes of zero (UTF-16 is not read)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("iso-8859-1")


def lines(text: str, uri: str) -> Iterator[Text]:
    """The lines of a text that have something in them, each with its number in its uri; of a text
    of one line only the uri stays."""
    found = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    alone = len(found) < 2
    for number, line in found:
        yield Text(uri if alone else f"{uri} #{number}", line.strip())


def read(path: str | Path, uri: str, roots: Roots) -> str:
    """The text of a file. Raises InputError with the uri."""
    with _refusals(uri):
        return decoded(roots.content(_located(path, uri, roots), LONGEST_TEXT), uri)


@contextmanager
def _refusals(uri: str) -> Iterator[None]:
    """What goes wrong with a file becomes an InputError with its uri."""
    try:
        yield
    except OSError as error:
        reason = InputError(f"{uri[:200]} could not be read: {error}")
        raise reason.graded(severity(error)) from error
    except (NotAFile, OutsideRoots) as error:
        raise InputError(f"{uri[:200]} could not be read: it is no file below the roots") from error
    except TooLong as error:
        most = f"{LONGEST_TEXT >> 20} MiB"
        raise InputError(f"{uri[:200]} has more than {most}: is it one of `sentences`?") from error


def _located(path: str | Path, uri: str, roots: Roots) -> Path:
    real = locate(path, ["."], roots)
    if real is None:
        raise InputError(f"{uri[:200]} does not exist")
    return real


@dataclass(frozen=True, slots=True)
class Corpus:
    """Labelled texts that are read anew each time they are gone through, in one order.

    Of `sentences` every line that is not blank is a text; no file is ever held whole then.
    """

    name: str
    sources: Sequence[Source]
    roots: Roots
    sentences: bool = False
    kept: Array | None = None
    """bool, a value a text: those that are in; None for all."""

    def __iter__(self) -> Iterator[Text]:
        texts = self._texts()
        return texts if self.kept is None else compress(texts, self.kept)

    def count(self) -> int:
        """How many texts there are; sentences are counted by reading them."""
        if self.kept is not None:
            return int(self.kept.sum())
        return sum(1 for _ in self._texts()) if self.sentences else len(self.sources)

    def split(self, wanted: TextInput) -> tuple[Corpus, Corpus | None]:
        """What stays for training, and the texts that are held out, drawn from all classes."""
        if not wanted.test_split:
            return self, None
        number = self.count()
        seed = wanted.seed if wanted.seed >= 0 else None
        rng = np.random.default_rng(seed if wanted.shuffle else _SPLIT_SEED)
        kept = np.zeros(number, np.bool_)
        kept[rng.permutation(number)[: staying(number, wanted.test_split)]] = True
        return (
            Corpus(self.name, self.sources, self.roots, self.sentences, kept),
            Corpus("split", self.sources, self.roots, self.sentences, ~kept),
        )

    def _texts(self) -> Iterator[Text]:
        for source in self.sources:
            if self.sentences:
                yield from self._sentences(source)
            else:
                yield Text(source.path, read(source.path, source.path, self.roots), source.target)

    def _sentences(self, source: Source) -> Iterator[Text]:
        with _refusals(source.path):
            real = _located(source.path, source.path, self.roots)
            with self.roots.open(real) as file:
                for number, line in _lines(file, source.path):
                    yield Text(f"{source.path} #{number}", line, source.target)


def _lines(file: BinaryIO, uri: str) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(LONGEST_TEXT + 1):
        number += 1
        if len(line) > LONGEST_TEXT:
            raise InputError(f"line {number} of {uri[:200]} has more than {LONGEST_TEXT} bytes")
        if text := decoded(line, uri).strip():
            yield number, text


@dataclass(frozen=True, slots=True)
class Found:
    """A corpus, the names of its classes, and what is to be said of it."""

    corpus: Corpus
    classes: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """How texts are looked for below a path.

    `classes` are the names that the training set has, for its test sets; `labelled` is false where
    a model learns from texts alone, which then are all files below a folder.
    """

    roots: Roots
    sentences: bool
    nclasses: int = 0
    labelled: bool = True
    classes: Sequence[str] | None = None
    numbers: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        known = {name: number for number, name in enumerate(self.classes or ())}
        object.__setattr__(self, "numbers", known)

    def below(self, path: Path) -> Found:
        """The texts of a folder with a folder a class, of a flat folder, or of a file.

        Raises InputError if there is nothing, or a class too many.
        """
        real = locate(path, ["."], self.roots)
        if real is None:
            raise InputError(f"folder or file of texts {str(path)[:200]} does not exist")
        folders = [each for each in visible(real) if each.is_dir()] if real.is_dir() else []
        if self.labelled and folders:
            return self._classes(path, real, folders)
        if self.labelled and self.classes:
            raise InputError(f"{str(path)[:200]} has no class folders")
        files = files_below(real) if real.is_dir() else [real]
        corpus = self._corpus(path, [Source(str(file)) for file in files])
        said = f"{path} has no class folders: all its texts are of class 0"
        return Found(corpus, (), [said] if self.labelled else [])

    def _classes(self, path: Path, real: Path, folders: Sequence[Path]) -> Found:
        names = self.classes or [each.name for each in folders]
        numbers = self.numbers or {name: number for number, name in enumerate(names)}
        sources, warnings = [], []
        for each in folders:
            number = numbers.get(each.name)
            if number is None:
                warnings.append(f"class {each.name} of {path} is not in the training set: left out")
                continue
            if 0 < self.nclasses <= number:
                raise InputError(
                    f"class {each.name} of {path} is one too many (nclasses={self.nclasses})"
                )
            sources += [Source(str(file), number) for file in files_below(each)]
        if loose := len(visible(real)) - len(folders):
            warnings.append(f"{path}: {loose} files are in no class folder and were left out")
        return Found(self._corpus(path, sources), names, warnings)

    def _corpus(self, path: Path, sources: Sequence[Source]) -> Corpus:
        return Corpus(path.name, sources, self.roots, self.sentences)
