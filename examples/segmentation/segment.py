"""Learn which pixels belong to handwritten digits on photographs, then draw what was found.

    .venv/bin/python -m examples.segmentation.segment

It trains a small SegFormer through the API: list files of images and masks in, mean intersection
over union and a class for each pixel of the original images out.
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

SCENES = Scenes(train=600, test=40, side=64, digits=2, objects=2, height=(0.4, 0.7))
COLOURS = np.array([(0, 0, 0), (60, 200, 60), (60, 60, 230)], np.uint8)
"""Of each class, BGR."""


def main() -> int:
    """Train, predict, draw."""
    options = Options.read(__doc__, iterations=1200, out="build/example-segmentation.png")
    with opened(options) as (face, folder):
        train, test = write_scenes(folder / "scenes", SCENES).masks
        with face.create_service(
            "example-segmentation",
            model={"repository": str(folder / "model"), "create_repository": True},
            mllib="torch",
            input_parameters={
                "connector": "image",
                "width": SCENES.side,
                "height": SCENES.side,
                "segmentation": True,
                "scale": 0.0039,
                "mean": 0.5,
                "std": 0.25,
            },
            mllib_parameters={
                "template": "segformer",
                "segmentation": True,
                "nclasses": SCENES.masks,
                "template_params": {
                    "hidden_sizes": [16, 32, 64, 96],
                    "depths": [1, 1, 1, 1],
                    "heads": [1, 1, 2, 4],
                    "decoder_hidden_size": 64,
                },
            },
        ) as service:
            watch(service, [train, test], training(options.iterations), "meaniou")
            images = [Path(line.split()[0]) for line in test.read_text().splitlines()][:8]
            found = service.predict(images)
        draw(images, found["predictions"], options.out)
    console.print(f"what was found on {len(images)} of them: [bold]{options.out.resolve()}[/]")
    return 0


def training(iterations: int) -> Mapping[str, Any]:
    """How the segmenter learns."""
    return {
        "solver": {
            "iterations": iterations,
            "test_interval": max(1, iterations // 3),
            "base_lr": 0.002,
            "solver_type": "ADAM",
        },
        "net": {"batch_size": 16},
        "distort": {"prob": 0.3},
    }


def draw(images: Sequence[Path], predictions: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Each image above its classes in colour, all in a row."""
    columns = [painted(path, each) for path, each in zip(images, predictions, strict=True)]
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), np.hstack(columns))


def painted(path: Path, prediction: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """An image and its pixels' classes, three times as large."""
    image = cv2.imread(str(path))
    assert image is not None
    size = prediction["imgsize"]
    classes = np.array(prediction["vals"], np.intp).reshape(size["height"], size["width"])
    both = np.vstack([image, COLOURS[classes]])
    return cv2.resize(both, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)


if __name__ == "__main__":
    sys.exit(main())
