"""The store: samples of a training on disk, made once and read again (contract 3.3, database mode).

`train.lmdb` and `test_0.lmdb`, `test_1.lmdb`... lie in the repository. They are written under other
names and renamed when they are whole, the training set's last: where that one is, all is there.
"""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from ddstream.connectors.locate import locate
from ddstream.connectors.protocol import NO_TESTS
from ddstream.connectors.storage.packing import packed, unpacked
from ddstream.connectors.storage.records import Records, Writing
from ddstream.connectors.storage.streams import Stream, Streams, staying
from ddstream.data import Array, Dataset, Datasets, Dimensions, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import STORED, Repository
from ddstream.roots import Roots

log = logging.getLogger(__name__)

TRAIN: Final = f"train{STORED}"
_SPLIT_SEED: Final = 0
"""What is held out of a kept set must be the same when its training is resumed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a train request wants of a store.

    `made_by` is what the kept samples depend on: the connector and its parameters. A store that was
    made by others is refused.
    """

    repository: Repository
    data: Sequence[Path]
    roots: Roots
    made_by: Mapping[str, Any]
    test_split: float = 0.0
    seed: int = -1

    @property
    def named(self) -> bool:
        """The data are stores themselves."""
        return bool(self.data) and STORED in self.data[0].name


@dataclass(frozen=True, slots=True)
class Stored:
    """Samples of a store; safe for threads."""

    name: str
    records: Records

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index` as it was kept, without what is done to its pixels."""
        return unpacked(self.records.read(index))


@dataclass(frozen=True, slots=True)
class Part:
    """Some samples of a set."""

    name: str
    whole: Dataset
    indices: Array

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index` of the part."""
        return self.whole.read(int(self.indices[index]), rng)


def stored(wish: Wish, gather: Callable[[], Streams]) -> Datasets:
    """The kept sets: those of the repository, or of `data` if these are stores, else new ones.

    `gather` reads the data; it is called for new sets only. Raises InputError for a store that
    cannot be read or was made by other parameters, ParameterError where there is nothing to keep,
    InternalError where the disk takes none.
    """
    if wish.named:
        found = [_named(path, wish.roots) for path in wish.data]
        if wish.test_split and len(found) > 1:
            split = f"{wish.test_split:g}"
            raise InputError(f"User specified both a test split {split} and a test set")
        return _opened(wish, found[0], found[1:], [])
    folder = wish.repository.path
    reused = (folder / TRAIN).is_file()
    said = _reuse(wish) if reused else _write(wish, gather())
    train = Records(folder / TRAIN)
    names = [_test(number) for number in range(int(train.about.get("tests", 0)))]
    tests = [Records(folder / name) for name in names if (folder / name).is_file()]
    return _opened(wish, train, tests, said)


def _test(number: int) -> str:
    return f"test_{number}{STORED}"


def _named(path: Path, roots: Roots) -> Records:
    found = locate(path, ["."], roots)
    if found is None or not found.is_file():
        raise InputError(f"{str(path)[:200]} is no file")
    return Records(found)


def _reuse(wish: Wish) -> list[str]:
    return [f"{TRAIN} of {wish.repository.path} is used again, `data` was not read"]


def _write(wish: Wish, streams: Streams) -> list[str]:
    """Keep all sets; returns what is to be said of the data."""
    about = {
        "made_by": wish.made_by,
        "classes": list(streams.classes),
        "learned": dict(streams.learned),
        "dimensions": asdict(streams.dimensions),
        "files": {name: b64encode(each).decode() for name, each in streams.files.items()},
        "tests": len(streams.tests),
        "test_split": wish.test_split,
    }
    repository = wish.repository
    # Test sets come first: without the training set's file they do not count.
    for number, stream in enumerate(streams.tests):
        _keep(repository, _test(number), stream, {}, NO_TESTS)
    _keep(repository, TRAIN, streams.train, about, "No data found in training dataset")
    return list(streams.warnings)


def _keep(
    repository: Repository, name: str, stream: Stream, about: Mapping[str, Any], nothing: str
) -> None:
    with repository.building(name) as path, Writing(path) as file:
        for sample in stream.samples:
            file.add(packed(sample))
        if not file.count:
            raise ParameterError(nothing)
        file.finish({**about, "name": stream.name})
    log.info("%s: %d samples were kept", name, file.count)


def _opened(wish: Wish, train: Records, tests: Sequence[Records], said: Sequence[str]) -> Datasets:
    """The sets of records, as they were made. Raises InputError if that was in another way."""
    about = train.about
    try:
        _check(wish, about["made_by"])
        whole: Dataset = Stored(str(about["name"]), train)
        sets: list[Dataset] = [Stored(str(each.about["name"]), each) for each in tests]
        files = {name: b64decode(each) for name, each in about["files"].items()}
        dimensions = Dimensions(**about["dimensions"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{TRAIN} was not made by this version: remove it") from error
    warnings = [*said]
    if wish.test_split and not sets:
        whole, part = _split(whole, wish)
        sets = [part]
    elif wish.test_split != about["test_split"] and sets:
        warnings.append("parameters.input.test_split has no effect: the test sets are kept ones")
    return Datasets(
        train=whole,
        tests=sets,
        classes=tuple(about["classes"]),
        learned=about["learned"],
        warnings=warnings,
        dimensions=dimensions,
        files=files,
    )


def _check(wish: Wish, made_by: Mapping[str, Any]) -> None:
    wanted = orjson.loads(orjson.dumps(wish.made_by))
    for name in {**wanted, **made_by}:
        if wanted.get(name) != made_by.get(name):
            raise InputError(
                f"{TRAIN} was made with {name} {made_by.get(name)!r}, not {wanted.get(name)!r}: "
                "give the same, or remove it"
            )


def _split(whole: Dataset, wish: Wish) -> tuple[Part, Part]:
    """A part that stays, and one that is held out, drawn from everywhere."""
    rng = np.random.default_rng(wish.seed if wish.seed >= 0 else _SPLIT_SEED)
    order = rng.permutation(len(whole))
    kept = staying(len(order), wish.test_split)
    if not kept:
        raise ParameterError("No data found in training dataset")
    parts = np.sort(order[:kept]), np.sort(order[kept:])
    return Part(whole.name, whole, parts[0]), Part("split", whole, parts[1])
