"""Alignment: images of texts get one height, and the width of the widest (`align`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from ddstream.api.image import ImageInput
from ddstream.connectors.images.entries import Entry
from ddstream.connectors.images.source import Source
from ddstream.connectors.storage.streams import read_each
from ddstream.errors import InputError
from ddstream.repository import Repository

ALIGNMENT: Final = "alignment.json"
"""How the images of a training were aligned, for who predicts with its weights."""


def remembered(raw: Mapping[str, Any], repository: Repository) -> Mapping[str, Any]:
    """Raw `parameters.input` with what the repository's training has learned, where it is open.

    That is whether images are aligned, and the width that no parameter gives.
    """
    kept = repository.read_json(ALIGNMENT)
    if not isinstance(kept, dict) or raw.get("align", True) is not True:
        return raw
    if raw.get("align") is None:
        return {**kept, **raw}
    follows = raw.get("width") == -1 and raw.get("height") == kept.get("height")
    return {**raw, "width": kept.get("width", -1)} if follows else raw


def aligned(source: Source, entries: Iterable[Entry]) -> Source:
    """The source with the width of the widest image where it aligns and no width is given.

    Raises InputError if none can be read.
    """
    images = source.parameters
    if not images.align or images.width != -1:
        return source
    samples = read_each("align", replace(source, remembers=False).image, entries)
    widest = max((sample.inputs["image"].shape[1] for sample in samples), default=0)
    if not widest:
        raise InputError("no image of the training set can be read")
    return source.changed({"width": widest})


def alignment_file(images: ImageInput, repository: Repository) -> dict[str, bytes]:
    """The file that a training with these parameters leaves; one of an earlier one is emptied."""
    if images.align:
        content = {"align": True, "height": images.height, "width": images.width}
        return {ALIGNMENT: orjson.dumps(content)}
    return {ALIGNMENT: b"{}"} if (repository.path / ALIGNMENT).is_file() else {}
