"""Layouts: what labels of images there are, and which of them a request means (contract 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from ddstream.connectors.images.boxes import Boxes
from ddstream.connectors.images.entries import Entry, Labelled
from ddstream.connectors.images.labels import Labels
from ddstream.connectors.images.letters import Letters
from ddstream.connectors.images.masks import Masks
from ddstream.connectors.images.source import Source
from ddstream.data import Dimensions, Sample, Target


class Layout(Protocol):
    """How the images of a folder or a list are labelled."""

    def found(self, path: Path, source: Source) -> Labelled:
        """The entries of a folder or a list file. Raises InputError with the file and line."""

    def learned(self, train: Labelled) -> Self:
        """The layout with what the training set tells."""

    def known(self, classes: Sequence[str]) -> Self:
        """The layout with the class names that an earlier training left; none if it left none."""

    def target(self, entry: Entry, sample: Sample, source: Source) -> Target:
        """What the sample of an entry should give. Raises InputError with the file."""

    def made_by(self) -> Mapping[str, Any]:
        """What targets depend on, beside the pixels."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes by their ids; empty where the data tell none."""

    def sized(self, dimensions: Dimensions) -> Dimensions:
        """The sizes of the samples, with what the layout knows of the outputs."""


def chosen(source: Source, mllib: Mapping[str, Any]) -> Layout:
    """The layout that the flags of a request mean: boxes go before masks, masks before letters.

    `mllib` is the raw `parameters.mllib`. Raises ParameterError for counts that are none.
    """
    images = source.parameters
    labels = Labels.of(mllib, images)
    if images.bbox:
        return Boxes(labels.nclasses)
    if images.segmentation or mllib.get("segmentation") is True:
        return Masks(labels.nclasses)
    if images.ctc or mllib.get("ctc") is True:
        return Letters()
    return labels
