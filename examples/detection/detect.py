"""Learn to find handwritten digits on photographs, then draw the boxes that were found.

    .venv/bin/python -m examples.detection.detect

It trains a small YOLOX through the API: list files of images and boxes in, average precision and
boxes in pixels of the original images out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from examples.lessons import Options, console, opened, watch
from examples.scenes import Scenes, write_scenes

SCENES = Scenes(train=600, test=60, side=96, digits=3, objects=3)
COLOURS = ((60, 200, 60), (60, 60, 230), (230, 160, 40))


def main() -> int:
    """Train, predict, draw."""
    options = Options.read(__doc__, iterations=1500, out="build/example-detection.png")
    with opened(options) as (face, folder):
        train, test = write_scenes(folder / "scenes", SCENES).boxes
        with face.create_service(
            "example-detection",
            model={"repository": str(folder / "model"), "create_repository": True},
            mllib="torch",
            input_parameters={
                "connector": "image",
                "width": SCENES.side,
                "height": SCENES.side,
                "bbox": True,
                "scale": 0.0039,
            },
            mllib_parameters={
                "template": "yolox",
                "nclasses": SCENES.boxes,
                "template_params": {"depth": 0.33, "width": 0.125},
            },
        ) as service:
            watch(service, [train, test], training(options.iterations), "map-50")
            images = [Path(line.split()[0]) for line in test.read_text().splitlines()][:12]
            found = service.predict(
                images, output_parameters={"bbox": True, "confidence_threshold": 0.4}
            )
        draw(images, found["predictions"], options.out)
    console.print(f"what was found on {len(images)} of them: [bold]{options.out.resolve()}[/]")
    return 0


def training(iterations: int) -> Mapping[str, Any]:
    """How the detector learns."""
    return {
        "solver": {
            "iterations": iterations,
            "test_interval": max(1, iterations // 3),
            "base_lr": 0.002,
            "solver_type": "ADAM",
        },
        "net": {"batch_size": 16},
        "mirror": False,
        "distort": {"prob": 0.3},
    }


def draw(images: Sequence[Path], predictions: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Each image with its boxes, four in a row."""
    tiles = [boxed(path, each["classes"]) for path, each in zip(images, predictions, strict=True)]
    rows = [np.hstack(tiles[start : start + 4]) for start in range(0, len(tiles), 4)]
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), np.vstack(rows))


def boxed(path: Path, objects: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """An image, three times as large, with a box around each object; class d + 1 is digit d."""
    image = cv2.imread(str(path))
    assert image is not None
    image = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    for each in objects:
        box, digit = each["bbox"], int(each["cat"]) - 1
        corners = [round(3 * box[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
        cv2.rectangle(image, corners[:2], corners[2:], COLOURS[digit], 2)
        text, at = f"{digit} {each['prob']:.2f}", (corners[0], max(12, corners[1] - 4))
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, COLOURS[digit], 1)
    return image


if __name__ == "__main__":
    sys.exit(main())
