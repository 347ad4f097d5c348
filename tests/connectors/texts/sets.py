"""Small text data sets on disk, and what a connector makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddstream.api.parameters import merged
from ddstream.connectors.protocol import Limits
from ddstream.connectors.texts.connector import TextConnector
from ddstream.data import Array, Dataset, Datasets, Datum, Sample
from ddstream.repository import Repository, class_lines

CLASSES: Mapping[str, Sequence[str]] = {
    "fruit": ("Apples, apples and cherries", "cherries like lemons", "lemons; apples"),
    "metal": ("copper and silver", "silver, copper, silver", "silver apples"),
}
WORDS: dict[str, Any] = {"min_count": 1, "min_word_length": 1}
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "york", "##er", "s", "##s", ",", "!")


def written(folder: Path, texts: Mapping[str, Sequence[str]] = CLASSES) -> Path:
    """Write class folders with a file a text."""
    for name, contents in texts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / name / f"{number}.txt").write_text(content, encoding="utf-8")
    return folder


def vocabulary(folder: Path, tokens: Sequence[str] = BERT) -> Repository:
    """A repository with the vocabulary of a model of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{token}\t{number}\n" for number, token in enumerate(tokens))
    (folder / "vocab.dat").write_text(lines, encoding="utf-8")
    return Repository(folder)


def connector(
    repository: Repository | Path, limits: Limits | None = None, **raw: Any
) -> TextConnector:
    """A connector with these `parameters.input`."""
    if isinstance(repository, Path):
        repository.mkdir(parents=True, exist_ok=True)
        repository = Repository(repository)
    return TextConnector(raw, repository, limits or Limits())


def made(
    repository: Repository | Path,
    *data: Path,
    mllib: Mapping[str, Any] | None = None,
    **raw: Any,
) -> Datasets:
    """The data sets of a train request; what was learned is kept as a training keeps it."""
    used = connector(repository, **raw)
    found = used.datasets(data, mllib or {})
    for name, content in found.files.items():
        used._repository.write(name, content)
    if found.classes:
        used._repository.write("corresp.txt", class_lines(found.classes))
    return found


def read(used: TextConnector, content: str | bytes | Path, uri: str = "0") -> list[Sample]:
    """The samples of a datum."""
    return list(used.read(Datum(uri, content)))


def row(used: TextConnector, text: str) -> Array:
    """The one row of a text."""
    (sample,) = read(used, text)
    return sample.inputs["row"]


def everything(data: Dataset) -> list[Sample]:
    """All samples of a set, as a test reads them."""
    return [data.read(index, None) for index in range(len(data))]


Stage = Callable[[Path, str, Mapping[str, Any]], Sample]


def at_services(folder: Path, text: str, raw: Mapping[str, Any]) -> Sample:
    """Read with options of the service, after a training without any more."""
    repository = Repository(folder / "repository")
    return next(iter(TextConnector(merged(raw, {}), repository).read(Datum("0", text))))


def at_predict(folder: Path, text: str, raw: Mapping[str, Any]) -> Sample:
    """Read where the call gives the options, over the service's."""
    service = {"lower_case": True, "sentences": False, "read_forward": False, "sequence": 9}
    return next(
        iter(
            TextConnector(merged(service, raw), Repository(folder / "repository")).read(
                Datum("0", text)
            )
        )
    )


def at_train(folder: Path, text: str, raw: Mapping[str, Any]) -> Sample:
    """Read as a training set's sample."""
    data = written(folder / "set", {"only": [text]})
    sets = connector(folder / "repository", **raw).datasets([data, data], {})
    return sets.train.read(0, None)
