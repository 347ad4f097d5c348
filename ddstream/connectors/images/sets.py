"""Image data sets: class folders and list files become labelled samples (contract 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.augment import Augmentation
from ddstream.api.image import ImageInput
from ddstream.connectors.images.alignment import aligned, alignment_file
from ddstream.connectors.images.augment import Variation
from ddstream.connectors.images.boxes import refitted
from ddstream.connectors.images.entries import Entry, Labelled
from ddstream.connectors.images.layout import Layout, chosen
from ddstream.connectors.images.resize import sizes
from ddstream.connectors.images.source import Source
from ddstream.connectors.protocol import NO_TESTS
from ddstream.connectors.storage.store import Wish, stored
from ddstream.connectors.storage.streams import Stream, Streams, Varied, read_each
from ddstream.data import Datasets, Normalise, Sample
from ddstream.errors import InputError, ParameterError

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
    "align",
)
"""Parameters that the pixels of a sample depend on."""
_NOTHING = "No data found in training dataset"


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images, read when they are asked for; each gives `crops` samples."""

    name: str
    entries: Sequence[Entry]
    layout: Layout
    source: Source
    variation: Variation
    crops: int = 1

    def __len__(self) -> int:
        return len(self.entries) * self.crops

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index` with its target, varied where `rng` is given; crops are made always."""
        plain = labelled(self.entries[index // self.crops], self.layout, self.source)
        return self.variation.varied(plain, index, rng)

    def stream(self, told: MutableSequence[str]) -> Stream:
        """The images as they are before any variation, with their targets; `told` gets words about
        those that cannot be read."""
        once = replace(self.source, remembers=False)
        read = partial(labelled, layout=self.layout, source=once)
        return Stream(self.name, read_each(self.name, read, self.entries, told))


def labelled(entry: Entry, layout: Layout, source: Source) -> Sample:
    """The sample of an entry with its target. Raises InputError with the file."""
    sample = source.image(entry)
    return replace(sample, target=layout.target(entry, sample, source))


def image_datasets(source: Source, data: Sequence[Path], mllib: Mapping[str, Any]) -> Datasets:
    """The training set `data[0]` and the test sets: the others, or a split of the first.

    With `db` they are kept in the repository, at the size that the model sees. `mllib` is the raw
    `parameters.mllib`. Raises InputError for data that cannot be used, ParameterError without any
    training or test image.
    """
    images = source.parameters
    source.check_root()
    variation, warnings = Variation.of(Augmentation.of(mllib), images)
    if not data:
        raise InputError("missing data")
    labels = chosen(source, mllib)
    if mllib.get("resume") is True:
        labels = labels.known(source.repository.classes())
    keeping = _keeping(source)
    wish = Wish(
        repository=source.repository,
        data=data,
        roots=source.limits.roots,
        made_by=_made_by(keeping.parameters, labels),
        test_split=images.test_split,
        seed=images.seed,
    )
    if images.db or wish.named:
        once = replace(keeping, remembers=False)
        kept = stored(wish, lambda: _streams(_gathered(once, data, labels, variation)))
        found = _varied(kept, images, variation)
    else:
        found = _gathered(source, data, labels, variation)
    said = [*warnings, *found.warnings]
    return replace(found, warnings=said, shuffle=images.shuffle, seed=images.seed)


def labelled_images(source: Source, path: Path, mllib: Mapping[str, Any]) -> Iterator[Sample]:
    """The samples of a folder or a list with their targets, by what a training has learned.

    Raises InputError for what cannot be read.
    """
    once = replace(source, remembers=False)
    once.check_root()
    layout = chosen(once, mllib).known(source.repository.classes())
    for entry in layout.found(path, once).entries:
        yield labelled(entry, layout, once)


def _gathered(
    source: Source,
    data: Sequence[Path],
    labels: Layout,
    variation: Variation,
) -> Datasets:
    """The images of folders and list files."""
    found = _entries(source, data[0], labels)
    if not found.entries:
        raise ParameterError("; ".join([f"{_NOTHING}: {data[0]} has none", *found.warnings]))
    labels = labels.learned(found)
    source = aligned(source, found.entries)
    rest = [_entries(source, path, labels) for path in data[1:]]
    names = [path.name for path in data[1:]]
    train, held_out = _split(found.entries, source.parameters, any(each.entries for each in rest))
    if held_out:
        rest, names = [Labelled(held_out)], ["split"]
    if not any(each.entries for each in rest):
        raise ParameterError(NO_TESTS)
    return Datasets(
        train=ImageSet(data[0].name, train, labels, source, variation),
        tests=[
            ImageSet(name, each.entries, labels, source, variation, variation.crops)
            for name, each in zip(names, rest, strict=True)
        ],
        classes=labels.classes,
        dimensions=labels.sized(sizes(source.parameters)),
        files=alignment_file(source.parameters, source.repository),
        # One and the same path may be both.
        warnings=list(dict.fromkeys(text for each in (found, *rest) for text in each.warnings)),
    )


def _keeping(source: Source) -> Source:
    """The source of kept samples: with boxes they may have a size of their own (`db_width`)."""
    images = source.parameters
    if not (images.bbox and images.db_width):
        return source
    plain = dict.fromkeys(("scaled", "scale_min", "scale_max", "crop_width", "crop_height"))
    return source.changed({**plain, "width": images.db_width, "height": images.db_height})


def _made_by(images: ImageInput, labels: Layout) -> dict[str, Any]:
    """All that kept images and their targets depend on."""
    shaped = {name: getattr(images, name) for name in _SHAPING}
    return {"connector": "image", "limited": images.limited, **labels.made_by(), **shaped}


def _streams(found: Datasets) -> Streams:
    sets = [each for each in (found.train, *found.tests) if isinstance(each, ImageSet)]
    told = list(found.warnings)
    train, *tests = (each.stream(told) for each in sets)
    return replace(Streams.of(found), train=train, tests=tests, warnings=told)


def _varied(kept: Datasets, images: ImageInput, variation: Variation) -> Datasets:
    """Kept images, varied when they are read."""
    normalise = Normalise(images.scale, images.mean, images.std)
    other_size = images.bbox and images.db_width > 0

    def finish(sample: Sample, index: int, rng: np.random.Generator | None) -> Sample:
        if other_size:
            sample = refitted(sample, images)
        return replace(variation.varied(sample, index, rng), normalise=normalise)

    tests = [Varied(each, finish, variation.crops) for each in kept.tests]
    dimensions = sizes(images) if other_size else kept.dimensions
    return replace(kept, train=Varied(kept.train, finish), tests=tests, dimensions=dimensions)


def _entries(source: Source, path: Path, labels: Layout) -> Labelled:
    """The labelled images of a folder or a list file."""
    found = source.locate(path)
    if found is None:
        what = "Torch image input connector folders or image list"
        raise InputError(f"{what} {str(path)[:200]} does not exist")
    return labels.found(found, source)


def _split(
    entries: Sequence[Entry], images: ImageInput, has_test: bool
) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """What stays for training, shuffled if asked for, and what its end gives for testing."""
    if images.shuffle:
        rng = np.random.default_rng(images.seed if images.seed >= 0 else None)
        entries = [entries[i] for i in rng.permutation(len(entries))]
    if images.test_split and has_test:
        raise InputError(f"User specified both a test split {images.test_split:g} and a test set")
    kept = math.floor(len(entries) * (1 - images.test_split))
    if not kept:
        split = f"parameters.input.test_split {images.test_split:g}"
        raise ParameterError(f"{_NOTHING}: {split} leaves nothing of {len(entries)} samples")
    return entries[:kept], entries[kept:]
