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
from ddstream.connectors.store import Wish, stored
from ddstream.connectors.streams import Stream, Streams, Varied, read_each
from ddstream.data import Datasets, Normalise, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.roots import Roots

_TEST_SEED = 1
"""Crops of test images are the same in every test."""
_SHAPING = (
    "width",
    "height",
    "crop_width",
    "crop_height",
    "aspect_ratio_pad",
    "bw",
    "rgb",
    "histogram_equalization",
    "unchanged_data",
    "interp",
    "scale_min",
    "scale_max",
)
"""Parameters that the pixels of a sample depend on."""


@dataclass(frozen=True, slots=True)
class Source:
    """What data sets need of their connector: where paths may lie, and how a file is read."""

    parameters: ImageInput
    repository: Repository
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
        return vary(self._plain(self.entries[index // self.crops]), index, rng, self.augmentation)

    def stream(self) -> Stream:
        """The images as they are before any variation, with their targets."""
        return Stream(self.name, read_each(self.name, self._once, self.entries))

    def _plain(self, entry: Entry) -> Sample:
        # Found once: looking for a small file takes longer than decoding it.
        if (known := self._located.get(entry.path)) is None:
            path = self._locate(entry)
            known = entry.path if str(path) == entry.path else str(path)
            self._located[entry.path] = known
        return self._labelled(entry, Path(known))

    def _once(self, entry: Entry) -> Sample:
        # Nothing to remember: it will not be asked for again.
        return self._labelled(entry, self._locate(entry))

    def _labelled(self, entry: Entry, path: Path) -> Sample:
        sample = self.source.read(entry.path, path)
        return replace(sample, target=self.labels.target(entry.values))

    def _locate(self, entry: Entry) -> Path:
        path = self.source.locate(entry.path, entry.beside)
        if path is None:
            raise unreadable(entry.path)
        return path


def vary(
    sample: Sample, index: int, rng: np.random.Generator | None, wanted: Augmentation
) -> Sample:
    """An image varied where `rng` is given; a crop of it is always made."""
    image = sample.inputs["image"]
    if rng is not None:
        image = augment(image, wanted, rng)
    elif wanted.crop_size > 0:
        image = crop(image, wanted.crop_size, np.random.default_rng((_TEST_SEED, index)))
    return replace(sample, inputs={"image": image})


def image_datasets(source: Source, data: Sequence[Path], mllib: Mapping[str, Any]) -> Datasets:
    """The training set `data[0]` and the test sets: the others, or a split of the first.

    With `db` they are kept in the repository, at the size that the model sees. `mllib` is the raw
    `parameters.mllib`. Raises InputError for data that cannot be used, ParameterError without any
    training or test image.
    """
    images = source.parameters
    wanted, warnings = _possible(Augmentation.of(mllib), images)
    if not data:
        raise InputError("missing data")
    labels = Labels.of(mllib, images)
    crops = wanted.test_crop_samples if wanted.crop_size > 0 else 1
    wish = Wish(
        repository=source.repository,
        data=data,
        roots=source.roots,
        made_by=_made_by(images, labels),
        test_split=images.test_split,
        seed=images.seed,
    )
    if images.db or wish.named:
        kept = stored(wish, lambda: _streams(_gathered(source, data, labels, wanted)))
        found = _varied(kept, images, wanted, crops)
    else:
        found = _gathered(source, data, labels, wanted, crops)
    said = [*warnings, *found.warnings]
    return replace(found, warnings=said, shuffle=images.shuffle, seed=images.seed)


def _gathered(
    source: Source,
    data: Sequence[Path],
    labels: Labels,
    wanted: Augmentation,
    crops: int = 1,
) -> Datasets:
    """The images of folders and list files."""
    found = _labelled(source, data[0], labels)
    labels = labels.learned(found)
    rest = [_labelled(source, path, labels) for path in data[1:]]
    names = [path.name for path in data[1:]]
    train, held_out = _split(found.entries, source.parameters, any(each.entries for each in rest))
    if held_out:
        rest, names = [Labelled(held_out)], ["split"]
    if not any(each.entries for each in rest):
        raise ParameterError("empty test dataset")
    return Datasets(
        train=ImageSet(data[0].name, train, labels, source, wanted),
        tests=[
            ImageSet(name, each.entries, labels, source, wanted, crops)
            for name, each in zip(names, rest, strict=True)
        ],
        classes=found.classes,
        warnings=[text for each in (found, *rest) for text in each.warnings],
    )


def _made_by(images: ImageInput, labels: Labels) -> dict[str, Any]:
    """All that kept images and their targets depend on."""
    shaped = {name: getattr(images, name) for name in _SHAPING}
    several = labels.nclasses if labels.multi_label else 0
    said = {"multi_label": several, "regression": labels.regression, "limited": images.limited}
    return {"connector": "image", **said, **shaped}


def _streams(found: Datasets) -> Streams:
    sets = [each for each in (found.train, *found.tests) if isinstance(each, ImageSet)]
    train, *tests = (each.stream() for each in sets)
    return replace(Streams.of(found), train=train, tests=tests)


def _varied(kept: Datasets, images: ImageInput, wanted: Augmentation, crops: int) -> Datasets:
    """Kept images, varied when they are read."""
    normalise = Normalise(images.scale, images.mean, images.std)

    def finish(sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
        return replace(vary(sample, index, rng, wanted), normalise=normalise)

    tests = [Varied(each, finish, crops) for each in kept.tests]
    return replace(kept, train=Varied(kept.train, finish), tests=tests)


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
