"""Pictures of predictions: which images are drawn, and where the drawings lie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.commands.workflow.events import Events
from ddstream.connectors.images.entries import lines
from ddstream.connectors.locate import files_below, locate
from ddstream.errors import InputError
from ddstream.outputs.drawing import drawn
from ddstream.roots import ANYWHERE


def draw(predictions: Sequence[Mapping[str, Any]], folder: Path, events: Events, kind: str) -> None:
    """Draw each prediction over its image into a PNG of the folder, and tell of it.

    One whose image is no file here is passed over, and a `sink_warning` says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, prediction in enumerate(predictions):
        image = str(prediction["uri"])
        try:
            content = drawn(Path(image), prediction)
        except (OSError, ValueError) as error:
            events("sink_warning", sink="pictures", message=f"{image} was not drawn: {error}")
            continue
        path = folder / f"{index:04}-{_stem(image)}.png"
        path.write_bytes(content)
        events("artifact", kind=kind, image=image, path=str(path), index=index)


def chosen(sets: Sequence[Path], count: int, seed: int, root: str = "") -> list[Path]:
    """So many images of these data sets, the same for the same seed."""
    images = [image for path in sets for image in _images(path, root)]
    order = np.random.default_rng(seed).permutation(len(images))[:count]
    return [images[number] for number in sorted(order)]


def _images(path: Path, root: str) -> Iterator[Path]:
    if path.is_dir():
        yield from files_below(path)
        return
    for _, line in lines(path):
        image = line.split("\t")[0] if "\t" in line else line.split()[0]
        try:
            found = locate(image, [*filter(None, [root]), ".", path.parent], ANYWHERE)
        except InputError:
            continue
        if found is not None:
            yield found


def _stem(image: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(image).stem)[:60] or "image"
