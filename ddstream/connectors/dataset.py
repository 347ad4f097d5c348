"""Image data sets: class folders and list files become labelled samples (contract 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.augment import Augmentation
from ddstream.api.image import ImageInput
from ddstream.connectors.augment import augment, check_crop, crop
from ddstream.connectors.decode import unreadable
from ddstream.connectors.labels import Entry, Labelled, Labels, class_folders, list_file
from ddstream.connectors.locate import locate
from ddstream.connectors.resize import final_size
from ddstream.data import Datasets, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.roots import Roots

_TEST_SEED = 1
"""Crops of test images are the same in every test."""


@dataclass(frozen=True, slots=True)
class Source:
    """What data sets need of their connector: where paths may lie, and how a file is read."""

    parameters: ImageInput
    roots: Roots
    read: Callable[[str, Path], Sample]

    def locate(self, path: str | Path, *beside: Path) -> Path | None:
        """The file that a path means: below `root_folder`, the working directory, or `beside`."""
        root = self.parameters.root_folder
        return locate(path, [*filter(None, [root]), ".", *beside], self.roots)


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images, read when they are asked for; each gives `crops` samples."""

    name: str
    entries: Sequence[Entry]
    labels: Labels
    source: Source
    augmentation: Augmentation
    crops: int = 1
    _located: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries) * self.crops

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index` with its target, varied where `rng` is given; crops are made always."""
        entry = self.entries[index // self.crops]
        sample = self.source.read(entry.path, self._locate(entry))
        image = sample.inputs["image"]
        side = self.augmentation.crop_size
        if rng is not None:
            image = augment(image, self.augmentation, rng)
        elif side > 0:
            image = crop(image, side, np.random.default_rng((_TEST_SEED, index)))
        return replace(sample, inputs={"image": image}, target=self.labels.target(entry.values))

    def _locate(self, entry: Entry) -> Path:
        # Found once: looking for a small file takes longer than decoding it.
        if (known := self._located.get(entry.path)) is not None:
            return Path(known)
        path = self.source.locate(entry.path, entry.beside)
        if path is None:
            raise unreadable(entry.path)
        self._located[entry.path] = entry.path if str(path) == entry.path else str(path)
        return path


def image_datasets(source: Source, data: Sequence[Path], mllib: Mapping[str, Any]) -> Datasets:
    """The training set `data[0]` and the test sets: the others, or a split of the first.

    `mllib` is the raw `parameters.mllib`. Raises InputError for data that cannot be used,
    ParameterError without any training or test image.
    """
    wanted, warnings = _possible(Augmentation.of(mllib), source.parameters)
    if not data:
        raise InputError("missing data")
    labels = Labels.of(mllib, source.parameters)
    found = _labelled(source, data[0], labels)
    labels = labels.learned(found)
    rest = [_labelled(source, path, labels) for path in data[1:]]
    names = [path.name for path in data[1:]]
    train, held_out = _split(found.entries, source.parameters, any(each.entries for each in rest))
    if held_out:
        rest, names = [Labelled(held_out)], ["split"]
    if not any(each.entries for each in rest):
        raise ParameterError("empty test dataset")
    crops = wanted.test_crop_samples if wanted.crop_size > 0 else 1
    return Datasets(
        train=ImageSet(data[0].name, train, labels, source, wanted),
        tests=[
            ImageSet(name, each.entries, labels, source, wanted, crops)
            for name, each in zip(names, rest, strict=True)
        ],
        classes=found.classes,
        warnings=[*warnings, *(text for each in (found, *rest) for text in each.warnings)],
        shuffle=source.parameters.shuffle,
        seed=source.parameters.seed,
    )


def _possible(wanted: Augmentation, images: ImageInput) -> tuple[Augmentation, list[str]]:
    """The augmentation that images of this size allow, and warnings of what has no effect."""
    warnings = []
    size, side = final_size(images), wanted.crop_size
    if side > 0 and size:
        check_crop(side, *size)
    square = side > 0 or (size is not None and size[0] == size[1])
    if wanted.rotate and not square:
        warnings.append("parameters.mllib.rotate is disabled: width and height differ")
        wanted = wanted.model_copy(update={"rotate": False})
    if wanted.test_crop_samples > 1 and side <= 0:
        warnings.append("parameters.mllib.test_crop_samples needs crop_size")
    if images.db:
        warnings.append("parameters.input.db: images are read when needed, no database is written")
    return wanted, warnings


def _labelled(source: Source, path: Path, labels: Labels) -> Labelled:
    """The labelled images of a folder or a list file."""
    found = source.locate(path)
    if found is None:
        what = "Torch image input connector folders or image list"
        raise InputError(f"{what} {str(path)[:200]} does not exist")
    return class_folders(found, labels) if found.is_dir() else list_file(found, labels)


def _split(
    entries: list[Entry], images: ImageInput, has_test: bool
) -> tuple[list[Entry], list[Entry]]:
    """What stays for training, shuffled if asked for, and what its end gives for testing."""
    if images.shuffle:
        rng = np.random.default_rng(images.seed if images.seed >= 0 else None)
        entries = [entries[i] for i in rng.permutation(len(entries))]
    if images.test_split and has_test:
        raise InputError(f"User specified both a test split {images.test_split:g} and a test set")
    kept = math.floor(len(entries) * (1 - images.test_split))
    if not kept:
        raise ParameterError("No data found in training dataset")
    return entries[:kept], entries[kept:]
