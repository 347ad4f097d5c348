"""Checking data sets before a training: counts, and the first faults with file and line.

It reads lists, boxes, masks and rows, and of images the first bytes: whether they are there, and
are images at all. A training refuses at the first fault; here they are all counted.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ddstream.commands.workflow.findings import Findings
from ddstream.commands.workflow.options import TrainOptions
from ddstream.commands.workflow.profiles import Profile
from ddstream.connectors.images.decode import Decoding, decode
from ddstream.connectors.images.entries import lines, pair
from ddstream.connectors.images.headers import read_header
from ddstream.connectors.locate import files_below, locate, visible
from ddstream.errors import InputError
from ddstream.roots import ANYWHERE

_HEAD: Final = 1 << 16
"""Bytes of a file that tell whether it is an image."""
_MASK: Final = Decoding(rgb=False, bw=False, unchanged=True, max_pixels=1 << 30)
_KEPT: Final = (".lmdb",)
"""Data sets that a training has written itself."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for the data sets of a run."""

    nclasses: int
    ntargets: int
    several: bool
    masks: bool
    root: str
    separator: str

    @classmethod
    def of(cls, options: TrainOptions) -> Rules:
        """The rules of a run's options."""
        inputs = options.input_parameters
        several = inputs.get("multi_label") or options.service_mllib.get("multi_label")
        return cls(
            nclasses=options.nclasses or 0,
            ntargets=0 if options.nclasses else options.ntargets or 0,
            several=bool(several),
            masks=not options.skip_mask_validation,
            root=str(inputs.get("root_folder") or ""),
            separator=str(inputs.get("separator") or ","),
        )

    def file(self, path: str, beside: Path) -> Path:
        """The file that a path in a list means. Raises InputError if there is none."""
        found = locate(path, [*filter(None, [self.root]), ".", beside.parent], ANYWHERE)
        if found is None or not found.is_file():
            raise InputError(f"{path} does not exist")
        return found


Check = Callable[[Findings, Rules], None]


def checked(profile: Profile, options: TrainOptions) -> Iterator[Findings]:
    """The findings of each data set, the training set first."""
    rules = Rules.of(options)
    known: frozenset[str] = frozenset()
    for number, path in enumerate(options.data):
        findings = Findings(f"test{number - 1}" if number else "train", path)
        with findings.faults():
            if path.suffix in _KEPT:
                findings.counts["kept"] = 1
            else:
                _CHECKS[_kind(profile, options)](findings, rules)
        if not findings.samples and not findings.errors and path.suffix not in _KEPT:
            findings.fault(f"{path} holds no data")
        if number and known and path.is_dir():
            for name in sorted(set(findings.classes) - known):
                findings.fault(f"class {name} of {path} is not in the training set")
        known = known or frozenset(findings.classes if path.is_dir() else ())
        yield findings


def _kind(profile: Profile, options: TrainOptions) -> str:
    connector = options.input_parameters.get("connector")
    return "rows" if connector == "svm" else profile.family


def _images(found: Findings, rules: Rules) -> None:
    """Class folders, or a list with numbers behind each image."""
    if found.path.is_dir():
        return _folders(found, _image)
    for where, line in _lines(found):
        path, values = _labelled(line)
        with found.faults():
            for value in values if not rules.ntargets else ():
                _class(value, 0, rules.nclasses, where)
                found.classes[f"{value:g}"] += 1
            if len(values) != (rules.ntargets or 1) and not rules.several:
                raise InputError(f"{where}: {len(values)} numbers behind the image")
            _image(rules.file(path, found.path))


def _boxes(found: Findings, rules: Rules) -> None:
    for where, line in _lines(found):
        with found.faults():
            image, boxes = pair(line, where, "boxes")
            _image(rules.file(image, found.path))
            file = rules.file(boxes, found.path)
            rows = [(n, row.split()) for n, row in _rows(file)]
            found.counts["empty"] += not rows
            for number, words in rows:
                with found.faults():
                    _box(found, words, f"line {number} of {file}", rules)


def _box(found: Findings, words: list[str], where: str, rules: Rules) -> None:
    values = _numbers(words, where)
    if len(values) != 5:
        raise InputError(f"{where}: `class xmin ymin xmax ymax` is expected")
    label, left, top, right, bottom = values
    if left >= right or top >= bottom:
        raise InputError(f"{where}: a box has xmin < xmax and ymin < ymax")
    _class(label, 1, rules.nclasses + 1 if rules.nclasses else 0, where)
    found.counts["boxes"] += 1
    found.classes[f"{label:g}"] += 1


def _masks(found: Findings, rules: Rules) -> None:
    for where, line in _lines(found):
        with found.faults():
            image, mask = pair(line, where, "mask")
            _image(rules.file(image, found.path))
            file = rules.file(mask, found.path)
            if not rules.masks:
                continue
            for value in np.unique(decode(file.read_bytes(), str(file), _MASK)):
                _class(float(value), 0, rules.nclasses, str(file))
                found.classes[str(value)] += 1


def _letters(found: Findings, rules: Rules) -> None:
    for where, line in _lines(found):
        image, *text = line.split(maxsplit=1)
        with found.faults():
            if not text:
                raise InputError(f"{where}: an image and its text are expected")
            found.counts["letters"] += len(text[0])
            _image(rules.file(image, found.path))


def _texts(found: Findings, rules: Rules) -> None:
    if found.path.is_dir() and any(each.is_dir() for each in visible(found.path)):
        return _folders(found, lambda file: None)
    files = list(files_below(found.path)) if found.path.is_dir() else [found.path]
    found.samples = len(files)


def _tables(found: Findings, rules: Rules) -> None:
    """Files whose rows have as many cells as their first."""
    files = list(files_below(found.path)) if found.path.is_dir() else [found.path]
    found.counts["files"] = len(files)
    for file in files:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = csv.reader(text, delimiter=rules.separator)
            columns = len(next(rows, ()))
            for row in rows:
                if row and len(row) != columns:
                    where = f"line {rows.line_num} of {file}"
                    found.fault(f"{where}: {len(row)} cells where the first line has {columns}")
                found.samples += bool(row)
        found.counts["columns"] = columns


def _series(found: Findings, rules: Rules) -> None:
    if not found.path.is_dir():
        raise InputError(f"{found.path} is a file where a folder of series is expected")
    _tables(found, rules)


def _sparse(found: Findings, rules: Rules) -> None:
    """Rows of `label index:value ...`."""
    for number, line in _rows(found.path):
        found.samples += 1
        with found.faults():
            label, *pairs = line.split("#", 1)[0].split()
            where = f"line {number} of {found.path}"
            if not all(each.count(":") == 1 for each in pairs):
                raise InputError(f"{where}: `label index:value ...` is expected")
            _numbers([label, *(part for each in pairs for part in each.split(":"))], where)
            found.classes[label] += 1


_CHECKS: Mapping[str, Check] = {
    "images": _images,
    "boxes": _boxes,
    "masks": _masks,
    "letters": _letters,
    "tokens": _texts,
    "series": _series,
    "tables": _tables,
    "rows": _sparse,
}


def _folders(found: Findings, check: Callable[[Path], None]) -> None:
    for folder in visible(found.path):
        if not folder.is_dir():
            found.counts["loose_files"] += 1
            continue
        found.classes[folder.name] += 0
        for file in files_below(folder):
            with found.faults():
                check(file)
            found.samples += 1
            found.classes[folder.name] += 1


def _lines(found: Findings) -> Iterator[tuple[str, str]]:
    """The lines of a list, each with its place; they are counted as samples."""
    if found.path.is_dir():
        raise InputError(f"{found.path} is a folder where a list file is expected")
    for number, line in lines(found.path):
        found.samples += 1
        yield f"line {number} of {found.path}", line


def _rows(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        for number, line in enumerate(text, start=1):
            if line.strip():
                yield number, line


def _image(file: Path) -> None:
    with file.open("rb") as content:
        head = content.read(_HEAD)
        # A few formats tell their size further behind.
        if read_header(head) is None and read_header(head + content.read()) is None:
            raise InputError(f"{file} is no image")


def _labelled(line: str) -> tuple[str, list[float]]:
    """The path, which may have spaces, and the numbers behind it."""
    words, values = line.split(" "), list[float]()
    while len(words) > 1:
        try:
            values.insert(0, float(words[-1]))
        except ValueError:
            break
        words.pop()
    return " ".join(words), values


def _numbers(words: list[str], where: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"{where}: numbers are expected, not {' '.join(words)[:80]!r}") from error


def _class(value: float, first: int, end: int, where: str) -> None:
    """Raises InputError for no class from `first` on and below `end`; 0 does not bound them."""
    if value != int(value) or value < first or 0 < end <= value:
        bounds = f"from {first} to {end - 1}" if end else f"from {first} on"
        raise InputError(f"{where}: class {value:g} is not {bounds}")
